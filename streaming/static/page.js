import { saysDonorGone, saysSourceGone, stillOf } from "./api.js";
import { Brush } from "./brush.js";
import { Camera, CameraTrouble, trouble } from "./camera.js";
import { offerCameras, setUpChoices } from "./choices.js";
import { ControlDesk } from "./controls.js";
import { setUpRemoval } from "./donors.js";
import { button, need, part, say, select, video } from "./elements.js";
import { LatencyPanel } from "./latency.js";
import { lock, locked } from "./locked.js";
import { connect } from "./marotte.js";
import { MeasureButton } from "./measure.js";
import { notice } from "./notices.js";
import { Coach } from "./coach.js";
import { describePrivacy } from "./notes.js";
import { RecordButton } from "./recorder.js";
import { StatsPicker } from "./rtcstats.js";
import { SoundPanel } from "./sound.js";
import { nameRecalibration, sayRecalibrated } from "./recalibration.js";
import { Sources } from "./source.js";
import { showTelling, tell } from "./status.js";
import { onRelease } from "./stopped.js";
import { NO_EDIT, Tracker } from "./tracker.js";
import { Trust } from "./trust.js";
import { keepFocus, showTrouble } from "./trouble.js";
import { View } from "./view.js";
import { Wish } from "./wish.js";

/** @import {CallPhase} from "./call.js" */
/** @import {Session} from "./marotte.js" */
/** @import {BundleInfo, Change, Driver, Info, Message, Report, SourceInfo} from "./messages.js" */
/** @import {Phase} from "./status.js" */

const SILENT_MS = 2500;
const BITRATE = 2_500_000;
const LARGE_BITRATE = 4_000_000;

/** The page once it knows its server: what is shown, what runs, and what the buttons do. */
export class Page {
  /** @type {Session | null} */
  #call = null;
  /** @type {Driver} */
  #driver = "camera";
  /** @type {Phase} */
  #phase = "idle";
  /** @type {Report | null} */
  #report = null;
  #heardAt = 0;
  #why = "";
  #begun = false; // by a button that is about to go away, and the focus with it
  /** @type {MediaStream | null} */
  #picture = null;
  #stats = new StatsPicker();
  #view = new View((on) => this.#call?.send({ mirror: on }));
  #latency = new LatencyPanel();
  #coach = new Coach();
  #camera = new Camera(() => this.#lostCamera());
  #recorder = new RecordButton({ picture: () => this.#picture, name: () => this.wish.fileName });

  /** @param {Info} info */
  constructor(info) {
    this.info = info;
    this.wish = new Wish(info, this.#view, (change) => this.#wished(change));
    this.desk = new ControlDesk(
      info,
      (message) => this.#call?.send(message) ?? false,
      (error) => void this.#changeRefused(error),
    );
    this.desk.offer(this.wish.system.bundle);
    this.brush = new Brush(info, () => this.#call?.session ?? null);
    this.sources = new Sources(info, {
      chosen: () => this.#showSource(),
      donated: (source) => this.wish.donors.add(source),
      listed: (sources) => this.wish.list(sources),
      wantsDonor: () => this.wish.takesDonors,
      takesLabels: () => this.wish.takesLayouts,
      refused: (error) => error.lockedOut && this.#lockOut(),
    });
    this.measure = new MeasureButton({
      ready: () => this.#phase === "live" && this.#driver === "camera" && !this.#report?.pass_through,
      plain: () => this.#camera.track,
      sendTrack: async (track) => this.#call?.replaceTrack(track),
      send: (message) => this.#call?.send(message) ?? false,
      camera: video("camera"),
      result: video("result"),
    });
    this.sound = new SoundPanel(info, {
      sending: () => this.#call !== null && this.#driver === "camera",
      sendSound: async (track) => this.#call?.microphone(track),
      send: (message) => this.#call?.send(message) ?? false,
      redial: (why) => this.#redial(why),
    });
    this.tracker = new Tracker(info, video("camera"), { start: () => void this.#startTracker(), seen: (face) => this.#call?.sendFace(face) });
    this.trust = new Trust(info, () => this.#call?.session ?? null, (message) => this.#call?.send(message) ?? false, () => this.#driver === "camera" && this.sources.own, () => void this.sources.refresh());
    this.#setUpButtons();
    setUpRemoval(this.desk.controls.remove, (on) => this.desk.remove(on));
    setUpChoices(info, (why) => this.#redial(why), (why) => void this.#changeCamera(why));
    describePrivacy(info);
    this.#view.showCamera(null);
    this.#view.showStill(stillOf(this.sources.current.id), this.sources.current.size);
    this.#coach.portrait(this.sources.current.remarks);
    this.wish.describe();
    this.#enter("idle");
    onRelease(() => ["failed", "stopped"].includes(this.#phase) ? this.#enter("idle") : this.#nameDriver());
    void this.sources.resume();
    window.setInterval(() => void this.#everySecond(), 1000);
  }

  /** What enrolled bundles need of it. */
  get turning() {
    return {
      live: () => this.#camera.stream,
      renew: (/** @type {BundleInfo[]} */ bundles) => this.wish.system.renew(bundles),
      turnTo: (/** @type {string} */ bundle) => this.wish.system.turnTo(bundle),
      show: (/** @type {SourceInfo} */ source) => this.sources.show(source),
      lockedOut: () => this.#lockOut(),
    };
  }

  #setUpButtons() {
    for (const id of ["start", "retry"]) button(id).onclick = () => void this.#startCamera();
    for (const id of ["demo", "trouble-demo"]) button(id).onclick = () => this.#startDemo();
    button("stop").onclick = () => this.#stop();
    button("pause").onclick = () => this.#pause(button("pause").getAttribute("aria-pressed") !== "true");
    button("recalibrate").onclick = () => this.desk.change({ recalibrate: true }) && sayRecalibrated(this.wish.body);
  }

  /** @returns {Promise<boolean>} whether the camera is on */
  async #openCamera() {
    try {
      this.#view.showCamera(await this.#camera.start(select("device").value, select("size").value));
    } catch (error) {
      if (!(error instanceof CameraTrouble)) throw error;
      this.#view.showCamera(null);
      this.#enter("blocked");
      showTrouble(error);
      return false;
    }
    void offerCameras();
    return true;
  }

  async #startCamera() {
    if (this.#phase === "asking") return;
    this.#hangUp();
    part("trouble").hidden = true;
    this.#begun = true;
    this.#enter("asking");
    button("start").focus({ preventScroll: true }); // also where “Try again” was pressed, which is gone now
    if (!(await this.#openCamera())) return;
    await this.sound.begin();
    this.#dial("camera");
  }

  #startDemo() {
    this.#hangUp();
    part("trouble").hidden = true;
    this.#begun = true;
    this.#dial("demo");
  }

  async #startTracker() {
    if (this.#phase === "asking") return;
    this.#hangUp();
    part("trouble").hidden = true;
    this.#begun = true;
    if (this.tracker.way === "page") {
      this.#enter("asking");
      if (!(await this.#openCamera())) return;
      if (!(await this.tracker.follow())) return this.#stop();
    }
    this.#dial("tracker");
  }

  /** @param {Driver} driver */
  #dial(driver) {
    this.#driver = driver;
    this.#report = null;
    this.#latency.clear();
    /** @type {Session} */
    const call = connect(
      {
        source: this.sources.current.id,
        driver,
        codec: select("codec").value,
        camera: driver === "camera" ? this.#camera.track : null,
        sound: driver === "camera" ? this.sound.direction : null,
        microphone: this.sound.track,
        keep: /** @type {RTCDegradationPreference} */ (select("keep").value),
        bitrate: select("size").value === "1280x720" ? LARGE_BITRATE : BITRATE,
        iceServers: this.info.ice_servers ?? [],
        ...this.wish.asked,
      },
      {
        phase: (phase, why) => this.#call === call && this.#followCall(phase, why),
        picture: (stream) => this.#call === call && this.#showPicture(stream),
        open: (source) => this.#announce(source),
        message: (message) => this.#call === call && this.#heard(message),
        sourceGone: async (id) => ((await this.sources.refresh(id)) ? this.sources.current.id : null),
        donorsGone: () => this.sources.refresh(),
        lockedOut: () => this.#lockOut(),
      },
    );
    this.#call = call;
  }

  /**
   * The same call again with what is set now, without asking for the camera.
   *
   * @param {string} why
   */
  #redial(why) {
    if (!this.#call) return;
    notice(why);
    void this.measure.stop();
    const call = this.#call;
    this.#call = null;
    call.stop();
    this.#dial(this.#driver);
  }

  /** @param {string} why */
  async #changeCamera(why) {
    if (!this.#call || !this.#camera.stream) return;
    notice(why);
    await this.measure.stop();
    if (!(await this.#openCamera())) return;
    if (this.#driver === "camera" && this.#camera.track) await this.#call.replaceTrack(this.#camera.track);
  }

  /** @param {Change} change */
  #wished(change) {
    this.desk.offer(this.wish.system.bundle);
    this.#nameDriver();
    if ("bundle" in change) this.brush.thaw();
    if (this.#call) this.#call.plan.wish = this.wish.asked;
    if (this.#phase === "live") this.desk.change(change);
    this.#tell();
  }

  /** @param {string} error */
  async #changeRefused(error) {
    if (/^(mode|bundle):/.test(error)) this.desk.offer(this.wish.fallBack(this.#report));
    if (saysDonorGone(error) && (await this.sources.refresh())) return;
    if (!saysSourceGone(error) || !(await this.sources.refresh(this.sources.current.id))) notice(error, "bad");
  }

  /** The server was started anew, and this page is none of its own. */
  #lockOut() {
    if (locked()) return;
    this.#hangUp();
    lock();
  }

  #lostCamera() {
    this.#hangUp();
    this.#enter("blocked");
    showTrouble(trouble("gone"));
  }

  /** Ends whatever runs; nothing of it stays on the page. */
  #hangUp() {
    const call = this.#call;
    this.#call = null;
    call?.stop();
    this.tracker.stop();
    this.#recorder.stop();
    void this.measure.stop();
    this.#view.clearResult();
    this.#view.showCamera(null);
    this.#camera.stop();
    this.sound.end();
    this.#picture = this.#report = null;
    this.#coach.camera([]);
    this.trust.clear();
    this.#pause(false);
  }

  #stop() {
    this.#hangUp();
    this.#enter("stopped");
    button("start").focus();
  }

  /**
   * @param {CallPhase} phase
   * @param {string} why
   */
  #followCall(phase, why) {
    this.#why = why;
    if (phase === "ended") {
      this.#hangUp();
      this.#enter("failed");
      if (why) notice(why, "bad");
      return;
    }
    if (phase === "reconnecting") void this.measure.stop();
    if (phase === "live") {
      this.#heardAt = performance.now();
      if (this.#phase === "reconnecting") void this.sources.refresh(); // perhaps it is another server now
    }
    this.#enter(phase);
  }

  /**
   * What was set before the channel opened.
   *
   * @param {string} source that the call was opened with
   */
  #announce(source) {
    this.#call?.send({ mirror: this.#view.mirrored });
    this.sound.announce();
    this.desk.announce();
    this.brush.announce();
    const { id } = this.sources.current;
    if (source !== id) this.desk.change({ source: id });
    if (button("pause").getAttribute("aria-pressed") === "true") this.#call?.send({ pause: true });
  }

  /** @param {MediaStream} stream */
  #showPicture(stream) {
    this.#picture = stream;
    this.#view.showResult(stream);
  }

  /** @param {Message} message */
  #heard(message) {
    this.#heardAt = performance.now();
    if (message.report) {
      this.#report = message.report;
      this.#latency.show(message.report, this.#heardAt);
      this.sound.show(message.report);
      this.#coach.camera(message.report.coach);
      this.#tell();
    }
    if (message.pong !== undefined) this.#latency.showTrip(this.#heardAt - message.pong);
    this.desk.heard(message);
    this.trust.heard(message);
  }

  #showSource() {
    const { id, name, size, remarks } = this.sources.current;
    this.#coach.portrait(remarks);
    if (this.#call) this.#call.plan.source = id;
    if (this.#phase === "live") this.desk.change({ source: id });
    this.brush.thaw();
    if (!this.wish.body) this.#view.showStill(stillOf(id), size);
    if (this.#call && !this.wish.body && this.wish.mode === "puppet") notice(`Portrait: ${name}`);
  }

  /** @param {boolean} on */
  #pause(on) {
    const pause = button("pause");
    if (pause.getAttribute("aria-pressed") === String(on)) return;
    pause.setAttribute("aria-pressed", String(on));
    say(need("pause-text", HTMLElement), on ? "Resume" : "Pause");
    this.#call?.send({ pause: on });
  }

  /** @param {Phase} phase */
  #enter(phase) {
    this.#phase = phase;
    const calling = !["idle", "blocked", "stopped", "failed", "asking"].includes(phase);
    document.documentElement.dataset.phase = phase;
    const left = part("bar").contains(document.activeElement);
    part("welcome").hidden = calling || !part("trouble").hidden;
    part("bar").hidden = !calling;
    part("readout").hidden = phase !== "live";
    for (const id of ["recalibrate", "pause", "record"]) button(id).disabled = phase !== "live";
    this.wish.system.demo(calling && this.#driver !== "camera", this.#driver === "tracker" ? NO_EDIT : undefined);
    button("recalibrate").disabled ||= this.#driver === "demo";
    this.#nameDriver();
    this.#latency.freeze(calling ? (phase === "reconnecting" ? "Connection lost: the last figures before it" : "") : "Stopped: the last figures of the call");
    if (calling && (this.#begun || left)) keepFocus(this.#begun);
    this.#begun &&= !calling;
    if (!calling && left) button("start").focus({ preventScroll: true });
    this.measure.refresh();
    this.brush.refresh();
    this.#tell();
  }

  #nameDriver() {
    nameRecalibration(this.wish.body, this.#driver);
    this.tracker.offer(this.wish.mode === "edit", this.wish.body);
  }

  #tell() {
    const silent = this.#phase === "live" && performance.now() - this.#heardAt > SILENT_MS;
    const tracker = this.#driver !== "tracker" ? "" : this.#camera.stream ? "page" : "server";
    showTelling(tell({ phase: this.#phase, why: this.#why, report: this.#report, silent, demo: this.#driver === "demo", edit: this.wish.mode === "edit", body: this.wish.body, tracker }));
    document.documentElement.dataset.outcome = this.#report?.outcome ?? "";
  }

  async #everySecond() {
    if (this.#phase !== "live") return;
    this.#call?.send({ ping: performance.now() });
    const stats = await this.#call?.stats();
    if (stats) this.#latency.showBrowser(this.#stats.pick(stats));
    this.#tell();
  }
}
