// Short tones at known times, and when they come back.
//
// A tone's time is that of its first sample in the blocks that a track delivers, on the way out and on the way in
// alike: their difference is how long it took. Blocks carry the time of their delivery by another clock than
// performance.now(); what lies between the two is the least that was ever seen between a block and its being read.

const TONE_HZ = 1000;
const TONE_S = 0.1;
const EVERY_S = 1;
const LOUD = 0.1;
const QUIET_S = 0.3;

/** Between the clock of blocks and performance.now(), in milliseconds. */
let between = Infinity;

/** One tone in a second, as a track. `sent` are the times of those that left, as onsets tells them. */
export class Beeper {
  sent = [];

  static async start() {
    const beeper = new Beeper();
    const context = (beeper.context = new AudioContext({ latencyHint: "interactive", sampleRate: 48_000 }));
    await context.resume();
    const oscillator = new OscillatorNode(context, { frequency: TONE_HZ });
    const gain = (beeper.gain = new GainNode(context, { gain: 0 }));
    const out = new MediaStreamAudioDestinationNode(context, { channelCount: 1 });
    oscillator.connect(gain).connect(out);
    oscillator.start();
    beeper.track = out.stream.getAudioTracks()[0];
    beeper.next = Math.ceil(context.currentTime) + 1;
    beeper.plan();
    setInterval(() => beeper.plan(), 500);
    void onsets(beeper.track.clone(), (at) => beeper.sent.push(at));
    return beeper;
  }

  /** The tones of the next two seconds. */
  plan() {
    while (this.next < this.context.currentTime + 2) {
      this.gain.gain.setValueAtTime(0.5, this.next);
      this.gain.gain.setValueAtTime(0, this.next + TONE_S);
      this.next += EVERY_S;
    }
  }

  /** Whether a tone is to be heard now. */
  get beeping() {
    const phase = this.context.currentTime % EVERY_S;
    return phase < TONE_S;
  }
}

/** @param {number} at time as onsets tells it, by performance.now() */
export const inPageTime = (at) => at + between;

/**
 * Tells when each tone of a track begins, in milliseconds of the clock of blocks.
 *
 * @param {MediaStreamTrack} track
 * @param {(at: number) => void} tell
 */
export async function onsets(track, tell) {
  const reader = new MediaStreamTrackProcessor({ track, maxBufferSize: 100 }).readable.getReader();
  let last = -Infinity;
  for (;;) {
    const { value: data, done } = await reader.read();
    if (done) return;
    const samples = new Float32Array(data.numberOfFrames);
    data.copyTo(samples, { planeIndex: 0, format: "f32-planar" });
    const begin = data.timestamp / 1000;
    between = Math.min(between, performance.now() - begin);
    const at = samples.findIndex((sample) => Math.abs(sample) > LOUD);
    if (at >= 0) {
      const now = begin + (1000 * at) / data.sampleRate;
      if (now - last > 1000 * QUIET_S) tell(now);
      last = begin + (1000 * data.numberOfFrames) / data.sampleRate;
    }
    data.close();
  }
}
