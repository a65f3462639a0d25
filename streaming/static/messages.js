/**
 * The shapes of what passes between this page and its server (docs/live.md), as types alone.
 *
 * @typedef {{name: string, place: number | null, why: string}} PictureInfo place: 0 moves, null is not used
 *
 * @typedef {{measure: string, value: number, bound: number, unit: string, text: string}} Remark text: with the fix
 *
 * @typedef {{id: string, name: string, size: [number, number], faces: number, notes?: string[], remarks?: Remark[], pictures?: PictureInfo[], consent?: import("./consent.js").Consent | null}} SourceInfo
 *
 * @typedef {"puppet" | "edit"} Mode
 *
 * @typedef {object} BundleInfo
 * @property {string} name
 * @property {string} title
 * @property {string} system
 * @property {string} licence
 * @property {boolean} aus whether action units move it
 * @property {{name: string, low: number, high: number}[]} [directions] what else moves it, and how far
 * @property {number[]} [outputs] sides of what it synthesises, the finest first
 * @property {string[]} [heeds] controls that change something, where the server tells
 * @property {number} [pictures] how many pictures of one person it uses at most
 * @property {{id: string, name: string, size: [number, number]} | null} [own] who moves in place of any portrait, as your whole body does
 * @property {Partial<Record<Mode, {takes_source: boolean, removes: boolean}>>} modes
 *
 * @typedef {object} Info
 * @property {string} version
 * @property {SourceInfo} source
 * @property {SourceInfo[]} [sources]
 * @property {string[]} codecs
 * @property {string} [codec]
 * @property {string[]} [drivers]
 * @property {string[]} [trackers] kinds of those whose packets the server takes
 * @property {boolean} [mediapipe] whether a page can follow a face by itself
 * @property {BundleInfo[]} [bundles]
 * @property {{name: string, colour: [number, number, number]}[]} [parts] classes of a layout, in their order
 * @property {Record<string, Record<string, number>>} [expressions] action units by name
 * @property {import("./enrol_api.js").EnrolInfo | null} [enrol] null where nobody is enrolled
 * @property {boolean} [edit]
 * @property {boolean} [pass_through]
 * @property {{on: string[], lowered: string[]}} [marks] put on what is generated, and taken off by the operator
 * @property {boolean} [driver_pixels]
 * @property {RTCIceServer[]} [ice_servers]
 * @property {boolean} [admin] whether this page may do what the operator may
 * @property {boolean} [rooms] whether there are rooms for calls of two
 * @property {boolean} [recordings] whether sessions can be recorded on the server
 * @property {boolean} [sound] whether the driver's microphone is passed on
 * @property {{upload_bytes?: number, pictures?: number, pictures_bytes?: number, statement?: number, sessions?: number, donors?: number}} [limits]
 * @property {string} [worker]
 *
 * @typedef {object} Report
 * @property {"generated" | "held" | "faded" | "waiting" | "pass_through"} outcome
 * @property {string | null} reason
 * @property {number} faces
 * @property {Record<string, number>} stages milliseconds, in order
 * @property {{p50: number, p95: number} | null} age_ms null while nothing left
 * @property {number | null} filter_lag_ms
 * @property {number | null} [round_trip_ms] as the server's own RTCP measured it
 * @property {number} fps_in
 * @property {number} fps_out
 * @property {Record<string, number>} dropped
 * @property {string | null} codec
 * @property {number} kbps
 * @property {Remark[]} [coach] why the camera's picture will look bad
 * @property {[number, number]} size
 * @property {string | null} [bundle]
 * @property {Mode | null} [mode]
 * @property {string} worker
 * @property {number} restarts
 * @property {number} changes
 * @property {boolean} measuring
 * @property {boolean} paused
 * @property {boolean} pass_through
 * @property {boolean} driver_pixels
 * @property {SoundReport | null} [sound] null while none comes
 * @property {string | null} [withheld] why plain grey stands in place of the picture
 * @property {import("./self_check.js").SelfCheckReport | null} [self_check] null where none was begun
 * @property {RecordingReport | null} [recording] null while it is not recorded on the server
 *
 * @typedef {{id: string, seconds: number, bytes: number}} RecordingReport
 *
 * @typedef {object} SoundReport
 * @property {number | null} delay_ms for how long it is held back
 * @property {number | null} skew_ms by how much it leaves after its picture
 * @property {boolean} by_reports whether the browser's own clocks tell, rather than arrivals
 * @property {boolean} muted
 * @property {Record<string, number>} dropped packets by reason
 *
 * @typedef {object} Controls
 * @property {number} pose
 * @property {number} mouth
 * @property {number} eyes
 * @property {number} brows
 * @property {number} gaze
 * @property {number} motion
 * @property {boolean} absolute_mouth
 * @property {boolean} absolute_eyes
 * @property {boolean} absolute_gaze
 * @property {Record<string, number>} au_offsets
 * @property {boolean} remove
 * @property {Record<string, number>} directions
 * @property {number} output_size
 * @property {Record<string, number>} layout
 * @property {boolean} donor_layout
 * @property {boolean} donor_style
 * @property {boolean} project
 *
 * @typedef {"camera" | "demo" | "tracker"} Driver
 *
 * @typedef {object} Change
 * @property {Controls} [controls]
 * @property {number} [smoothing]
 * @property {string} [source]
 * @property {true} [recalibrate]
 * @property {Driver} [driver]
 * @property {{name: string, intensity: number}} [expression]
 * @property {string} [bundle]
 * @property {Mode} [mode]
 * @property {string[]} [donors]
 *
 * @typedef {{ack?: number, changes?: number, error?: string, report?: Report, stopped?: string, pong?: number, statement?: import("./check.js").Statement}} Message
 */

export {};
