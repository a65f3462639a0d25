// Keeps what a <video> of the page presents: small JPEG copies with the luma of their first rows.
"use strict";

globalThis.marotteCollector = {
  kept: [],
  running: 0,

  /** The first element of a selector that has pictures, as soon as there is one. */
  async find(selector) {
    for (;;) {
      const found = [...document.querySelectorAll(selector)];
      const playing = found.find((video) => video.srcObject && video.videoWidth > 0 && !video.paused);
      if (playing) return playing;
      await new Promise((done) => setTimeout(done, 20));
    }
  },

  async presented(selector, count) {
    const video = await this.find(selector);
    for (let left = count; left > 0; left--) await new Promise((done) => video.requestVideoFrameCallback(done));
  },

  async start(selector, wide) {
    const run = ++this.running;
    this.kept = [];
    const video = await this.find(selector);
    const small = document.createElement("canvas").getContext("2d", { alpha: false });
    const top = document.createElement("canvas").getContext("2d", { alpha: false, willReadFrequently: true });
    const look = (now, about) => {
      if (run !== this.running) return;
      video.requestVideoFrameCallback(look);
      if (video.videoWidth > 0) this.keep(video, about.presentationTime, wide, small, top);
    };
    video.requestVideoFrameCallback(look);
  },

  keep(video, at, wide, small, top) {
    const { videoWidth: width, videoHeight: height } = video;
    const rows = Math.max(8, Math.floor(height / 32));
    this.fit(top.canvas, width, rows);
    top.drawImage(video, 0, 0, width, rows, 0, 0, width, rows);
    const rgba = top.getImageData(0, 0, width, rows).data;
    const luma = new Uint8Array(width * rows);
    for (let i = 0; i < luma.length; i++) luma[i] = rgba[4 * i + 1];
    this.fit(small.canvas, wide, Math.round((wide * height) / width));
    small.drawImage(video, 0, 0, small.canvas.width, small.canvas.height);
    const jpeg = new Promise((done) => small.canvas.toBlob(done, "image/jpeg", 0.95));
    this.kept.push([at, width, height, jpeg, luma, rows]);
  },

  fit(canvas, width, height) {
    if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
  },

  async take() {
    const taken = this.kept;
    this.kept = [];
    return Promise.all(
      taken.map(async ([at, width, height, jpeg, luma]) => [
        at,
        width,
        height,
        this.text(new Uint8Array(await (await jpeg).arrayBuffer())),
        this.text(luma),
      ]),
    );
  },

  stop() {
    this.running++;
  },

  text(bytes) {
    let binary = "";
    for (let i = 0; i < bytes.length; i += 8192) binary += String.fromCharCode(...bytes.subarray(i, i + 8192));
    return btoa(binary);
  },
};
