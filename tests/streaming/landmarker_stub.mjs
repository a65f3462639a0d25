// In MediaPipe's place: the same interface, and a mouth that opens and closes twice in three seconds.
const calls = { files: [], options: [], frames: 0, off: false, fail: "" };
globalThis.landmarks = calls;

export class FilesetResolver {
  static async forVisionTasks(base) {
    // as the original: WebAssembly is compiled before anything else
    await WebAssembly.compile(new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0]));
    calls.files.push(base);
    return { base };
  }
}

export class FaceLandmarker {
  static async createFromOptions(files, options) {
    calls.options.push(options);
    if (options.baseOptions.delegate === "GPU") throw new Error("no GPU here");
    if (!(await fetch(options.baseOptions.modelAssetPath)).ok) throw new Error("no model");
    return new FaceLandmarker();
  }

  detectForVideo(video, ms) {
    if (!video.videoWidth || video.paused) throw new Error("no picture");
    if (calls.fail) throw new Error(calls.fail);
    calls.frames += 1;
    if (calls.off) return { faceBlendshapes: [], facialTransformationMatrixes: [] };
    const open = 0.5 - 0.5 * Math.cos((2 * Math.PI * ms) / 1500);
    const scores = { _neutral: 0.9, jawOpen: open, mouthSmileLeft: 0.1, mouthSmileRight: 0.1 };
    const categories = Object.entries(scores).map(([categoryName, score]) => ({ categoryName, score }));
    const data = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, -45, 1];
    return { faceBlendshapes: [{ categories }], facialTransformationMatrixes: [{ rows: 4, columns: 4, data }] };
  }

  close() {}
}
