/** The microphone of a call, if one is on. */
export class Microphone {
  /** @type {MediaStream | null} */
  #stream = null;

  /**
   * Switches it on. Null where there is none, or it is not allowed: a call goes on without.
   *
   * @returns {Promise<MediaStreamTrack | null>}
   */
  async start() {
    if (!navigator.mediaDevices?.getUserMedia) return null;
    try {
      this.#stream = await navigator.mediaDevices.getUserMedia({ audio: { echoCancellation: true, noiseSuppression: true } });
    } catch (error) {
      if (!(error instanceof DOMException)) throw error;
      return null;
    }
    const { track } = this;
    if (track) track.contentHint = "speech";
    return track;
  }

  /** @returns {MediaStreamTrack | null} */
  get track() {
    return this.#stream?.getAudioTracks()[0] ?? null;
  }

  /** The browser's sign of it goes out. */
  stop() {
    for (const track of this.#stream?.getTracks() ?? []) track.stop();
    this.#stream = null;
  }
}
