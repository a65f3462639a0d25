import { stillOf } from "./api.js";
import { Donors } from "./donors.js";
import { button } from "./elements.js";
import { describeServer } from "./notes.js";
import { showPerson } from "./person.js";
import { System } from "./system.js";

/** @import {Change, Info, Mode, Report, SourceInfo} from "./messages.js" */
/** @import {View} from "./view.js" */

const NO_DEMO = "The demo has no picture of its own to edit";

/** What is to leave: by which system, in which mode and from which donors; and how the page speaks of it. */
export class Wish {
  /** @type {{all: SourceInfo[], current: SourceInfo}} */
  #sources;
  #held = false; // whom a system holds was shown in the portrait's place

  /**
   * @param {Info} info
   * @param {View} view
   * @param {(change: Change) => void} changed it is another one
   */
  constructor(info, view, changed) {
    this.info = info;
    this.view = view;
    this.#sources = { all: [info.source], current: info.source };
    this.system = new System(info, () => {
      this.describe();
      changed(this.asked);
    });
    this.donors = new Donors(info, () => {
      this.#list();
      if (this.takesDonors) changed({ donors: this.donors.ids });
    });
  }

  /** @returns {Mode} */
  get mode() {
    return this.system.mode;
  }

  get takesDonors() {
    return this.system.takesDonors;
  }

  get takesLayouts() {
    return this.system.takesLayouts;
  }

  /** Whether the driver's whole body is followed, in the place of a face. */
  get body() {
    return this.system.own !== null;
  }

  /** For an offer, or as a change. */
  get asked() {
    const { wish } = this.system;
    return this.takesDonors ? { ...wish, donors: this.donors.ids } : wish;
  }

  /** The name of a file that holds it. */
  get fileName() {
    return this.mode === "edit" ? "edited" : this.#sources.current.name;
  }

  /**
   * What the server keeps, and what of it is shown.
   *
   * @param {{all: SourceInfo[], current: SourceInfo}} sources
   */
  list(sources) {
    this.#sources = sources;
    this.#list();
  }

  /** Said wherever the page speaks of it. */
  describe() {
    describeServer(this.info, this.mode);
    showPerson(this.#sources.current, this.system.bundle);
    const { own } = this.system;
    const shown = own ?? this.#sources.current;
    this.view.showMode(this.mode, shown.size, this.body);
    if (own || this.#held) this.view.showStill(stillOf(shown.id), shown.size);
    this.#held = this.body;
    for (const id of ["demo", "trouble-demo"]) {
      button(id).disabled = this.mode === "edit";
      button(id).title = this.mode === "edit" ? NO_DEMO : "";
    }
  }

  /**
   * The server did not take what was chosen: what it runs stays.
   *
   * @param {Report | null} report
   */
  fallBack(report) {
    if (report?.bundle && report.mode) {
      this.system.fallBack(report.bundle, report.mode);
      this.describe();
    }
    return this.system.bundle;
  }

  #list() {
    this.donors.list(this.#sources.all, this.#sources.current);
    showPerson(this.#sources.current, this.system.bundle);
  }
}
