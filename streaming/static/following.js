/** @import {FaceResult} from "./marotte.js" */

/**
 * MediaPipe's Face Landmarker, as far as it is used here. The files are the operator's own (docs/trackers.md).
 *
 * @typedef {{detectForVideo: (video: HTMLVideoElement, ms: number) => FaceResult, close: () => void}} Landmarker
 */

const BUNDLE = "/mediapipe/vision_bundle.mjs";
const WASM = "/mediapipe/wasm";
const MODEL = "/mediapipe/face_landmarker.task";
const MOST_PER_S = 30;
const EARLY_MS = 5; // a camera's frames do not come evenly

/** Why a face cannot be followed here, for people. */
export class FollowingTrouble extends Error {}

/** Follows the face before a camera in this page: the pictures stay here, and numbers come of them. */
export class Following {
  /** @type {Landmarker | null} */
  #landmarker = null;
  #number = 0; // of what was begun last: an older one ends by itself

  /**
   * @param {HTMLVideoElement} video the camera
   * @param {(result: FaceResult | null) => void} seen at most 30 times a second; null: nobody
   * @param {(why: string) => void} failed it has ended
   */
  constructor(video, seen, failed) {
    this.video = video;
    this.seen = seen;
    this.failed = failed;
  }

  get ready() {
    return this.#landmarker !== null;
  }

  /** Loads what is needed, once in a page. Throws FollowingTrouble. */
  async load() {
    if (this.ready) return;
    try {
      const { FilesetResolver, FaceLandmarker } = await import(BUNDLE);
      const files = await FilesetResolver.forVisionTasks(WASM);
      const options = { runningMode: "VIDEO", numFaces: 1, outputFaceBlendshapes: true, outputFacialTransformationMatrixes: true };
      this.#landmarker = await made(FaceLandmarker, files, options);
    } catch (error) {
      throw new FollowingTrouble(`This browser cannot follow your face: ${firstLine(error)}`);
    }
  }

  /** From now on, until `stop`. */
  start() {
    const number = ++this.#number;
    let due = 0;
    const look = (/** @type {number} */ now) => {
      if (number !== this.#number) return;
      this.video.requestVideoFrameCallback(look);
      if (now < due - EARLY_MS) return;
      due = now + 1000 / MOST_PER_S;
      try {
        this.seen(this.#landmarker?.detectForVideo(this.video, now) ?? null);
      } catch (error) {
        this.stop();
        this.failed(firstLine(error));
      }
    };
    this.video.requestVideoFrameCallback(look);
  }

  stop() {
    this.#number += 1;
  }
}

/**
 * By the GPU where there is one for pages.
 *
 * @param {{createFromOptions: (files: unknown, options: object) => Promise<Landmarker>}} kind
 * @param {unknown} files
 * @param {object} options
 * @returns {Promise<Landmarker>}
 */
async function made(kind, files, options) {
  const by = (/** @type {string} */ delegate) => kind.createFromOptions(files, { ...options, baseOptions: { modelAssetPath: MODEL, delegate } });
  try {
    return await by("GPU");
  } catch (error) {
    console.info("no GPU for the face landmarker", error);
    return by("CPU");
  }
}

/** @param {unknown} error MediaPipe's go on with where in its code it was */
const firstLine = (error) => (error instanceof Error ? error.message : String(error)).split("\n")[0].slice(0, 200);
