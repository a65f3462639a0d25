/**
 * @typedef {"insecure" | "refused" | "absent" | "taken" | "gone" | "unfit" | "other"} CameraTroubleKind
 *
 * @typedef {{id: string, label: string}} CameraChoice
 */

/** Why there is no camera, with what a person can do about it. */
export class CameraTrouble extends Error {
  /**
   * @param {CameraTroubleKind} kind
   * @param {string} title
   * @param {string[]} steps
   */
  constructor(kind, title, steps) {
    super(title);
    this.kind = kind;
    this.title = title;
    this.steps = steps;
  }
}

export const SIZES = ["320x240", "640x480", "960x540", "1280x720"];
const RATE = 30;

/** @type {Record<CameraTroubleKind, [string, string[]]>} */
const TROUBLES = {
  insecure: [
    "The camera needs a secure address",
    [
      "Browsers give the camera only to https pages and to this very machine.",
      "Open the page as http://127.0.0.1 or http://localhost on the machine that serves it, or put https in front of it.",
    ],
  ],
  refused: [
    "The camera is not allowed",
    [
      "Press the camera or lock sign beside the address and allow the camera for this page.",
      "Nothing there? Allow the browser itself in the system's privacy settings.",
      "Then press “Try again”.",
    ],
  ],
  absent: [
    "No camera was found",
    ["Plug one in, or switch it on: some laptops have a shutter or a key for it.", "Then press “Try again”."],
  ],
  taken: [
    "The camera does not start",
    [
      "Another program or tab is probably using it: close the call there.",
      "If it is yours alone, unplug it and plug it in again.",
    ],
  ],
  gone: ["The camera went away", ["It was unplugged, or the system took it back.", "Plug it in and press “Try again”."]],
  unfit: [
    "This camera has no such size",
    ["Choose another camera or another size under Setup, then press “Try again”."],
  ],
  other: ["The camera cannot be used", ["Press “Try again”, or choose another camera under Setup."]],
};

/** @type {Record<string, CameraTroubleKind>} */
const KINDS = {
  NotAllowedError: "refused",
  SecurityError: "refused",
  NotFoundError: "absent",
  NotReadableError: "taken",
  AbortError: "taken",
  OverconstrainedError: "unfit",
};

/** @param {CameraTroubleKind} kind */
export function trouble(kind) {
  const [title, steps] = TROUBLES[kind];
  return new CameraTrouble(kind, title, steps);
}

/** The camera that is on, if one is. */
export class Camera {
  /** @type {MediaStream | null} */
  stream = null;

  /** @param {() => void} gone told when the camera ended by itself */
  constructor(gone) {
    this.gone = gone;
  }

  /**
   * Switches a camera on, and the one before it off. Throws CameraTrouble.
   *
   * @param {string} device "" leaves it to the browser
   * @param {string} size one of SIZES
   * @returns {Promise<MediaStream>}
   */
  async start(device, size) {
    if (!window.isSecureContext || !navigator.mediaDevices?.getUserMedia) throw trouble("insecure");
    const [width, height] = size.split("x").map(Number);
    // some systems give a camera to one stream only: the old one ends before the new one begins
    this.stop();
    /** @type {MediaStream} */
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({
        audio: false,
        video: {
          width: { ideal: width },
          height: { ideal: height },
          frameRate: { ideal: RATE, max: RATE },
          ...(device ? { deviceId: { exact: device } } : { facingMode: "user" }),
        },
      });
    } catch (error) {
      if (!(error instanceof DOMException)) throw error;
      throw trouble(KINDS[error.name] ?? "other");
    }
    const track = stream.getVideoTracks()[0];
    track.contentHint = "motion";
    track.addEventListener("ended", () => {
      if (this.stream === stream) this.gone();
    });
    this.stream = stream;
    return stream;
  }

  /** The camera's light goes out. */
  stop() {
    const stream = this.stream;
    this.stream = null;
    for (const track of stream?.getTracks() ?? []) track.stop();
  }

  /** @returns {MediaStreamTrack | null} */
  get track() {
    return this.stream?.getVideoTracks()[0] ?? null;
  }
}

/** @returns {Promise<CameraChoice[]>} */
export async function listCameras() {
  if (!navigator.mediaDevices?.enumerateDevices) return [];
  const devices = await navigator.mediaDevices.enumerateDevices();
  return devices
    .filter((device) => device.kind === "videoinput" && device.deviceId)
    .map((device, index) => ({ id: device.deviceId, label: device.label || `Camera ${index + 1}` }));
}
