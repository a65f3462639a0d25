import { SIDE } from "./painting.js";

/** @import {Painting} from "./painting.js" */

/**
 * @typedef {object} Hand what a stroke asks of who shows it, and tells
 * @property {() => number} width in cells
 * @property {() => number} label that is painted
 * @property {() => boolean} ready whether there is a picture to paint on
 * @property {(done: boolean) => void} changed something was painted; done: the stroke has ended
 * @property {() => void} moved the brush is elsewhere
 * @property {(by: number) => void} resized by keys
 */

const STEP = 4; // cells that an arrow key moves the brush; with Shift, one
/** @type {Record<string, [number, number]>} */
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** The hand that holds the brush: a pointer, or the keys. */
export class BrushStroke {
  /** @type {[number, number]} */
  #at = [SIDE / 2, SIDE / 2];
  #down = false;
  #held = false; // by the space bar
  #shown = false;

  /**
   * @param {HTMLCanvasElement} canvas
   * @param {Painting} painting
   * @param {Hand} hand
   */
  constructor(canvas, painting, hand) {
    this.canvas = canvas;
    this.painting = painting;
    this.hand = hand;
    canvas.onpointerdown = (event) => this.#press(event);
    canvas.onpointermove = (event) => this.#move(event);
    canvas.onpointerup = canvas.onpointercancel = () => this.#lift();
    canvas.onpointerleave = canvas.onblur = () => this.#leave();
    canvas.onfocus = () => this.#place(this.#at);
    canvas.onkeydown = (event) => this.#key(event);
    canvas.onkeyup = (event) => {
      if (event.key === " ") this.#release();
    };
  }

  /**
   * A ring where the brush is.
   *
   * @param {CanvasRenderingContext2D} context
   * @param {number} scale pixels per cell
   */
  drawCursor(context, scale) {
    if (!this.#shown || !this.hand.ready()) return;
    const [x, y] = this.#at.map((place) => (place + 0.5) * scale);
    for (const [colour, width] of /** @type {[string, number][]} */ ([["#000", 4], ["#fff", 2]])) {
      context.beginPath();
      context.arc(x, y, Math.max(2, (this.hand.width() * scale) / 2), 0, 2 * Math.PI);
      context.strokeStyle = colour;
      context.lineWidth = width;
      context.stroke();
    }
  }

  /** @param {PointerEvent} event */
  #press(event) {
    if (event.button !== 0 || !this.hand.ready()) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.#down = true;
    this.painting.begin();
    this.#place(this.#cell(event));
    this.#paint(this.#at);
  }

  /** @param {PointerEvent} event */
  #move(event) {
    const from = this.#at;
    if (this.#down) {
      for (const one of event.getCoalescedEvents?.() ?? []) this.#follow(this.#cell(one));
      this.#follow(this.#cell(event));
      if (from !== this.#at) this.hand.changed(false);
    } else {
      this.#place(this.#cell(event));
    }
  }

  /** @param {[number, number]} to */
  #follow(to) {
    const from = this.#at;
    this.#at = to;
    this.painting.stroke(from, to, this.hand.width(), this.hand.label());
  }

  #lift() {
    if (!this.#down) return;
    this.#down = false;
    this.painting.end();
    this.hand.changed(true);
  }

  #leave() {
    this.#release();
    if (this.#down) return;
    this.#shown = false;
    this.hand.moved();
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const arrow = ARROWS[event.key];
    if (arrow) {
      const by = event.shiftKey ? 1 : STEP;
      const from = this.#at;
      const within = (/** @type {number} */ place) => Math.min(SIDE - 1, Math.max(0, place));
      this.#place([within(from[0] + by * arrow[0]), within(from[1] + by * arrow[1])]);
      if (this.#held) this.#paint(from);
    } else if (event.key === " ") {
      if (!this.#held && this.hand.ready()) {
        this.#held = true;
        this.painting.begin();
        this.#paint(this.#at);
      }
    } else if (event.key === "[" || event.key === "]") {
      this.hand.resized(event.key === "]" ? 1.25 : 0.8);
    } else {
      return;
    }
    event.preventDefault();
  }

  #release() {
    if (!this.#held) return;
    this.#held = false;
    this.painting.end();
    this.hand.changed(true);
  }

  /** @param {[number, number]} from */
  #paint(from) {
    this.painting.stroke(from, this.#at, this.hand.width(), this.hand.label());
    this.hand.changed(false);
  }

  /** @param {[number, number]} to */
  #place(to) {
    this.#at = to;
    this.#shown = true;
    this.hand.moved();
  }

  /**
   * @param {PointerEvent} event
   * @returns {[number, number]}
   */
  #cell(event) {
    const box = this.canvas.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * SIDE - 0.5, ((event.clientY - box.top) / box.height) * SIDE - 0.5];
  }
}
