import { Refusal, readInfo } from "./api.js";
import { Camera, CameraTrouble } from "./camera.js";
import { button, input, make, need, part, say, video } from "./elements.js";
import { connect, watch } from "./marotte.js";
import { Microphone } from "./microphone.js";
import { notice } from "./notices.js";
import { Presence } from "./presence.js";
import { joinRoom, leaveRoom, readRoom } from "./room_api.js";
import { Look } from "./room_look.js";
import { StatementPanel } from "./statement.js";

/** @import {Info} from "./messages.js" */
/** @import {RoomInfo} from "./presence.js" */
/** @import {Seat} from "./room_api.js" */

const SIZE = "640x480";
const NAME = decodeURIComponent(location.pathname.split("/").at(-1) ?? "");

/** The page of one room: the door, then the call, then the door again. */
class RoomPage {
  /** @type {Seat | null} */
  #seat = null;
  /** @type {ReturnType<typeof connect> | null} */
  #session = null;
  /** @type {ReturnType<typeof watch> | null} */
  #watching = null;
  /** @type {Presence | null} */
  #presence = null;
  #camera = new Camera(() => void this.#turnCamera(false));
  #microphone = new Microphone();
  #stated = new StatementPanel(need("frame", HTMLElement));
  #muted = false;
  #away = false;
  /** @type {Record<"own" | "other", string>} */
  #phases = { own: "", other: "" };
  /** Why one is not connected. @type {Record<"own" | "other", string>} */
  #whys = { own: "", other: "" };

  /** @param {Info} info */
  constructor(info) {
    this.info = info;
    this.look = new Look(info, (change) => void this.#changeLook(change));
    need("door-form", HTMLFormElement).onsubmit = (event) => {
      event.preventDefault();
      void this.#join();
    };
    video("own").onresize = () => {
      const { videoWidth, videoHeight } = video("own");
      if (videoHeight) part("stage").style.setProperty("--camera-ratio", String(videoWidth / videoHeight));
    };
    button("leave").onclick = () => this.#leave("You have left.");
    button("mute").onclick = () => this.#mute(!this.#muted);
    button("camera").onclick = () => void this.#turnCamera(!this.#camera.track);
    window.addEventListener("pagehide", () => this.#seat && void leaveRoom(NAME, this.#seat.id));
    window.addEventListener("pageshow", (event) => event.persisted && location.reload());
  }

  async #join() {
    const join = button("join");
    join.disabled = true;
    part("door-error").hidden = true;
    try {
      const seat = await joinRoom(NAME, input("person").value.trim());
      await this.#openDevices();
      this.#begin(seat);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      this.#refused(error.message);
    } finally {
      join.disabled = false;
    }
  }

  /** What cannot be had is done without: whoever has no camera is an idling portrait. */
  async #openDevices() {
    await this.#microphone.start();
    this.#muted = this.#microphone.track === null || !input("with-microphone").checked;
    if (this.#muted && !input("with-microphone").checked) this.#microphone.stop();
    if (input("with-camera").checked) await this.#openCamera();
  }

  /** @returns {Promise<MediaStreamTrack | null>} */
  async #openCamera() {
    try {
      await this.#camera.start("", SIZE);
    } catch (error) {
      if (!(error instanceof CameraTrouble)) throw error;
      notice(`${error.title}: the other sees a picture that idles.`, "bad");
    }
    return this.#camera.track;
  }

  /** @param {Seat} seat */
  #begin(seat) {
    this.#seat = seat;
    this.#away = false;
    this.#phases = { own: "connecting", other: "waiting" };
    const iceServers = this.info.ice_servers ?? [];
    const camera = this.#camera.track;
    this.#session = connect(
      {
        endpoint: seat.publish,
        ...this.look.wish,
        camera,
        microphone: this.#microphone.track,
        sound: this.info.sound ? "sendonly" : null,
        iceServers,
      },
      {
        phase: (phase, why) => this.#phased("own", phase, why),
        picture: (stream) => void (video("own").srcObject = stream),
      },
    );
    if (!camera) void this.#session.camera(null);
    this.#session.mute(this.#muted);
    this.#presence = new Presence(seat.events, {
      room: (room) => this.#showRoom(room),
      lost: (lost) => {
        this.#away = lost;
        this.#tell();
      },
      over: (why) => this.#leave(why),
    });
    document.documentElement.dataset.phase = "call";
    part("door").hidden = true;
    part("call").hidden = false;
    this.#showRoom(seat.room);
    this.#showButtons();
    button("mute").focus({ preventScroll: true });
  }

  /** @param {string} why */
  #leave(why) {
    const seat = this.#seat;
    this.#seat = null;
    this.#presence?.stop();
    this.#watching?.stop();
    this.#session?.stop();
    this.#presence = this.#watching = this.#session = null;
    this.#camera.stop();
    this.#microphone.stop();
    for (const id of ["own", "other"]) video(id).srcObject = null;
    document.documentElement.dataset.picture = "false";
    if (seat) void leaveRoom(NAME, seat.id);
    document.documentElement.dataset.phase = "door";
    part("call").hidden = true;
    part("door").hidden = false;
    this.#say("quiet", why);
    button("join").focus({ preventScroll: true });
  }

  /** @param {string} why */
  #refused(why) {
    this.#camera.stop();
    this.#microphone.stop();
    say(part("door-error"), why);
    part("door-error").hidden = false;
  }

  /** @param {boolean} on */
  #mute(on) {
    if (!on && !this.#microphone.track) {
      void this.#microphone.start().then(async (track) => {
        if (!track) return notice("The microphone cannot be used: allow it beside the address.", "bad");
        await this.#session?.microphone(track);
        this.#mute(false);
      });
      return;
    }
    this.#muted = on;
    if (this.#microphone.track) this.#microphone.track.enabled = !on;
    this.#session?.mute(on);
    this.#showButtons();
  }

  /** @param {boolean} on */
  async #turnCamera(on) {
    if (on) await this.#openCamera();
    else this.#camera.stop();
    await this.#session?.camera(this.#camera.track);
    this.#showButtons();
  }

  /** @param {import("./messages.js").Change} change */
  async #changeLook(change) {
    const session = this.#session;
    if (!session) return;
    const { source, ...wish } = { ...this.look.wish };
    session.plan.source = source;
    session.plan.wish = { ...session.plan.wish, ...wish };
    try {
      await session.change(change);
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      notice(error.message, "bad");
    }
  }

  /** @param {Seat} seat */
  #watch(seat) {
    const watching = watch({ endpoint: seat.watch, iceServers: this.info.ice_servers ?? [] });
    this.#watching = watching;
    watching.addEventListener("picture", (event) => this.#showOther(/** @type {CustomEvent<MediaStream>} */ (event).detail));
    watching.addEventListener("statement", (event) => {
      const { detail } = /** @type {CustomEvent<import("./check.js").Statement>} */ (event);
      if (this.#watching === watching) void this.#stated.show(detail);
    });
    watching.addEventListener("phase", (event) => {
      const { phase, why } = /** @type {CustomEvent<{phase: string, why: string}>} */ (event).detail;
      if (this.#watching === watching) this.#phased("other", phase, why);
    });
  }

  /** The other's picture is not published: nothing of it stays. */
  #unwatch() {
    const watching = this.#watching;
    this.#watching = null;
    watching?.stop();
    void this.#stated.show(null);
    document.documentElement.dataset.picture = "false";
    this.#phased("other", "waiting", "");
  }

  /** @param {MediaStream} stream */
  #showOther(stream) {
    const other = video("other");
    other.srcObject = stream;
    void other.play().catch(() => (part("listen").hidden = false)); // a browser that plays no sound unasked
    other.requestVideoFrameCallback(() => (document.documentElement.dataset.picture = "true"));
    button("listen").onclick = () => {
      part("listen").hidden = true;
      void other.play();
    };
    other.onresize = () => {
      if (other.videoHeight) part("stage").style.setProperty("--ratio", String(other.videoWidth / other.videoHeight));
    };
  }

  /** @param {RoomInfo} room */
  #showRoom(room) {
    const other = room.members.find(({ you }) => !you);
    const live = other?.live ?? false;
    if (live && this.#watching) this.#watching.hurry();
    else if (live && this.#seat) this.#watch(this.#seat);
    else if (this.#watching) this.#unwatch();
    const name = other?.person || "The other";
    say(part("other-name"), name);
    part("other-tag").hidden = !other;
    part("other-muted").hidden = !other?.live || !other.muted;
    part("other-camera").hidden = !other?.live || other.camera;
    part("recorded").hidden = !room.members.some(({ recorded }) => recorded);
    part("empty").hidden = live;
    say(part("empty-text"), !other ? "Nobody else is here yet. Send them the other link." : other.waits ? `${name} cannot be seen yet: the server does not take their picture now. It is tried again by itself.` : other.here ? `${name} is joining…` : `${name} is away`);
    this.#tell();
  }

  /**
   * @param {"own" | "other"} whose
   * @param {string} phase
   * @param {string} why
   */
  #phased(whose, phase, why) {
    this.#phases[whose] = phase;
    this.#whys[whose] = why;
    document.documentElement.dataset[whose] = phase;
    if (phase === "ended" && why && this.#seat) this.#leave(why);
    this.#tell();
  }

  #tell() {
    if (!this.#seat) return;
    const { own, other } = this.#phases;
    if (this.#away) this.#say("warn", "Connection lost: trying again");
    else if (own === "reconnecting") this.#say("warn", `You are not seen: ${told(this.#whys.own)}. It is tried again by itself.`);
    else if (other === "reconnecting") this.#say("warn", `The other is not seen: ${told(this.#whys.other)}. It is tried again by itself.`);
    else if (own !== "live") this.#say("busy", "Connecting");
    else if (other !== "live") this.#say("busy", "Waiting for the other");
    else this.#say("good", "In the call");
  }

  /**
   * @param {string} tone
   * @param {string} text
   */
  #say(tone, text) {
    part("state").dataset.tone = tone;
    say(part("state-text"), text);
  }

  #showButtons() {
    const camera = this.#camera.track !== null;
    button("mute").setAttribute("aria-pressed", String(this.#muted));
    say(part("mute-text"), this.#muted ? "Unmute" : "Mute");
    button("mute").hidden = !this.info.sound;
    button("camera").setAttribute("aria-pressed", String(!camera));
    say(part("camera-text"), camera ? "Camera off" : "Camera on");
  }
}

/** @param {string} why as a part of a sentence */
const told = (why) => (why || "the connection was lost").replace(/\.$/, "");

async function main() {
  try {
    const room = await readRoom(NAME);
    const info = await readInfo();
    const names = room.members.map(({ person }) => person || "Somebody");
    say(part("door-who"), names.length ? `${names.join(" and ")} ${names.length > 1 ? "are" : "is"} there.` : "Nobody is there yet.");
    new RoomPage(info);
    button("join").disabled = false;
    part("state").dataset.tone = "quiet";
    say(part("state-text"), "At the door");
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    part("state").dataset.tone = "bad";
    say(part("state-text"), "No room");
    part("door").replaceChildren(make("h2", "", "This room cannot be opened"), make("p", "", error.message));
  }
}

void main();
