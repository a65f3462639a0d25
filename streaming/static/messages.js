/**
 * The shapes of what passes between this page and its server (docs/live.md), as types alone.
 *
 * @typedef {{id: string, name: string, size: [number, number], faces: number}} SourceInfo
 *
 * @typedef {object} Info
 * @property {string} version
 * @property {SourceInfo} source
 * @property {SourceInfo[]} [sources]
 * @property {string[]} codecs
 * @property {string} [codec]
 * @property {string[]} [drivers]
 * @property {boolean} [pass_through]
 * @property {boolean} [driver_pixels]
 * @property {RTCIceServer[]} [ice_servers]
 * @property {{upload_bytes?: number, statement?: number, sessions?: number}} [limits]
 * @property {string} [worker]
 *
 * @typedef {{session: string, sdp: string, type: RTCSdpType}} Answer
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
 * @property {[number, number]} size
 * @property {string} worker
 * @property {number} restarts
 * @property {number} changes
 * @property {boolean} measuring
 * @property {boolean} paused
 * @property {boolean} pass_through
 * @property {boolean} driver_pixels
 *
 * @typedef {object} Controls
 * @property {number} pose
 * @property {number} mouth
 * @property {number} eyes
 * @property {number} brows
 * @property {number} gaze
 * @property {boolean} absolute_mouth
 * @property {boolean} absolute_eyes
 * @property {boolean} absolute_gaze
 * @property {Record<string, number>} au_offsets
 *
 * @typedef {"camera" | "demo"} Driver
 *
 * @typedef {object} Change
 * @property {Controls} [controls]
 * @property {number} [smoothing]
 * @property {string} [source]
 * @property {true} [recalibrate]
 * @property {Driver} [driver]
 *
 * @typedef {{ack?: number, changes?: number, error?: string, report?: Report, stopped?: string, pong?: number}} Message
 */

export {};
