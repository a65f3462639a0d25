import { button, input, need, part, say, select, video } from "./elements.js";
import { notice } from "./notices.js";
import { ms } from "./statistics.js";

/** @import {Info, Report} from "./messages.js" */

/**
 * @typedef {object} Caller what the sound needs of the page
 * @property {() => boolean} sending whether a call with the camera runs
 * @property {(track: MediaStreamTrack | null) => Promise<void>} sendSound
 * @property {(message: object) => boolean} send
 * @property {(why: string) => void} redial the call has to be made anew
 */

const OFF = "off";
const LEVEL_MS = 100;
const LOUDEST = 0.5; // of full scale: speech seldom comes above

/** Why there is no microphone. @type {Record<string, string>} */
const TROUBLES = {
  NotAllowedError: "The microphone is not allowed: press the sign beside the address and allow it for this page.",
  NotFoundError: "No microphone was found: plug one in, or switch it on.",
  NotReadableError: "The microphone does not start: another program is probably using it.",
  OverconstrainedError: "That microphone is gone: choose another one.",
};

/** The driver's microphone: asked for when it is turned on, and never before. Nothing of it is played here unless wished. */
export class SoundPanel {
  /** @type {MediaStream | null} */
  #stream = null;
  /** @type {AudioContext | null} */
  #context = null;
  #timer = 0;
  #muted = false;
  #choice = select("mic");
  #hear = input("hear");
  #level = need("mic-level", HTMLMeterElement);

  /**
   * @param {Info} info
   * @param {Caller} caller
   */
  constructor(info, caller) {
    this.allowed = info.sound === true && Boolean(navigator.mediaDevices?.getUserMedia);
    this.caller = caller;
    part("sound").hidden = !this.allowed;
    if (!this.allowed) return;
    this.#choice.onchange = () => void this.#chosen();
    this.#hear.onchange = () => this.#heard();
    button("mute").onclick = () => this.#mute(!this.#muted);
    navigator.mediaDevices.addEventListener?.("devicechange", () => void this.#list());
    this.#show();
  }

  /** What goes with a call with the camera. */
  get track() {
    return this.#stream?.getAudioTracks()[0] ?? null;
  }

  /** The direction that a call offers for sound, null for a call without. */
  get direction() {
    if (!this.allowed) return null;
    return this.#hear.checked ? "sendrecv" : "sendonly";
  }

  /** A call with the camera begins: the microphone is there again where it was chosen. */
  async begin() {
    if (this.#on && !this.#stream) await this.#open();
  }

  /** The channel is open: say what is set. */
  announce() {
    if (this.#muted) this.caller.send({ mute: true });
  }

  /** The call has ended: so has the microphone, whose choice stays. */
  end() {
    this.#close();
    this.#show();
  }

  /** @param {Report} report */
  show(report) {
    const skew = report.sound?.skew_ms ?? null;
    part("readout-sound").hidden = skew === null;
    say(part("readout-skew"), skew === null ? "–" : `${skew > 0 ? "+" : ""}${ms(skew)}`);
  }

  get #on() {
    return this.allowed && this.#choice.value !== OFF;
  }

  async #chosen() {
    this.#close();
    if (this.caller.sending()) {
      if (this.#on) await this.#open();
      await this.caller.sendSound(this.track);
    }
    this.#show();
  }

  async #open() {
    const device = this.#choice.value;
    try {
      this.#stream = await navigator.mediaDevices.getUserMedia({ audio: device ? { deviceId: { exact: device } } : true });
    } catch (error) {
      if (!(error instanceof DOMException)) throw error;
      this.#choice.value = OFF;
      notice(TROUBLES[error.name] ?? "The microphone cannot be used.", "bad");
      this.#show();
      return;
    }
    const { track } = this;
    if (!track) return;
    track.contentHint = "speech";
    track.enabled = !this.#muted;
    track.addEventListener("ended", () => {
      if (this.track !== track) return;
      this.#choice.value = OFF;
      notice("The microphone went away.", "bad");
      void this.#chosen();
    });
    this.#watchLevel();
    await this.#list();
    this.#show();
  }

  #close() {
    for (const track of this.#stream?.getTracks() ?? []) track.stop();
    this.#stream = null;
    window.clearInterval(this.#timer);
    void this.#context?.close();
    this.#context = null;
    this.#level.value = 0;
  }

  #watchLevel() {
    if (!this.#stream) return;
    const context = (this.#context = new AudioContext());
    const analyser = new AnalyserNode(context, { fftSize: 2048 });
    new MediaStreamAudioSourceNode(context, { mediaStream: this.#stream }).connect(analyser);
    const samples = new Float32Array(analyser.fftSize);
    this.#timer = window.setInterval(() => {
      analyser.getFloatTimeDomainData(samples);
      const power = samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length;
      this.#level.value = this.#muted ? 0 : Math.min(1, Math.sqrt(power) / LOUDEST);
    }, LEVEL_MS);
  }

  async #list() {
    const devices = await navigator.mediaDevices.enumerateDevices();
    const found = devices.filter(({ kind, deviceId }) => kind === "audioinput" && deviceId && deviceId !== "default");
    const before = this.#choice.value;
    this.#choice.replaceChildren(
      new Option("Off", OFF),
      new Option("The browser's choice", ""),
      ...found.map(({ deviceId, label }, index) => new Option(label || `Microphone ${index + 1}`, deviceId)),
    );
    this.#choice.value = [...this.#choice.options].some(({ value }) => value === before) ? before : OFF;
  }

  /** @param {boolean} on */
  #mute(on) {
    this.#muted = on;
    if (this.track) this.track.enabled = !on;
    this.caller.send({ mute: on });
    this.#show();
  }

  /** Its own sound comes back only where it is wanted: a browser would delay the picture until it can play both. */
  #heard() {
    video("result").muted = !this.#hear.checked;
    if (this.caller.sending()) {
      this.caller.redial(this.#hear.checked ? "Your sound comes back: the call starts again with it." : "Your sound stays away: the call starts again without it.");
    }
    this.#show();
  }

  #show() {
    const live = this.#stream !== null;
    const mute = button("mute");
    mute.hidden = !live;
    mute.setAttribute("aria-pressed", String(this.#muted));
    mute.title = this.#muted ? "Let yourself be heard again" : "Nobody hears you until you press it again";
    say(part("mute-text"), this.#muted ? "Unmute" : "Mute");
    part("mic-level-field").hidden = !live;
    part("hear-field").hidden = !this.#on;
  }
}
