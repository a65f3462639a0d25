// Written by `python -m tests.streaming.declarations`: change the JSDoc of marotte.js instead.
/**
 * Whether a statement is as it was signed. It never throws.
 *
 * @param {unknown} statement
 * @param {string[]} [keys] public keys (hex) that are believed; without any, the one that the statement names proves only
 *   that nobody changed it since
 * @returns {Promise<Checked>}
 */
export function checkStatement(statement: unknown, keys?: string[]): Promise<Checked>;
/**
 * What a server states of a session (docs/statement.md).
 */
export type Statement = {
	/**
	 * version
	 */
	statement: number;
	/**
	 * rising
	 */
	number: number;
	time: string;
	software: string;
	session: string;
	stream: string;
	mode: "puppet" | "edit" | "pass-through";
	/**
	 * of a puppet
	 */
	source: {
		sha256?: string;
		held?: string;
	} | null;
	donors: string[];
	consent: {
		id: string;
		kind: string;
	}[];
	bundle: {
		name: string;
		title: string;
		licence: string;
		sha256: string | null;
	} | null;
	/**
	 * that are on
	 */
	marks: string[];
	/**
	 * that the operator turned off
	 */
	lowered: string[];
	/**
	 * the session's hash in it
	 */
	watermark: string | null;
	/**
	 * grey stands in place of whoever it would show
	 */
	withheld: boolean;
	recording: boolean;
	/**
	 * public, hex
	 */
	key: string;
	/**
	 * hex
	 */
	signature: string;
};
/**
 * What a server states of a session (docs/statement.md).
 */
export type Checked = {
	/**
	 * whether the holder of the key signed it as it stands; null: this browser cannot tell
	 */
	sound: boolean | null;
	key: string;
	/**
	 * where it is not, for people
	 */
	why: string;
};
/**
 * How a live check stands (docs/live.md).
 */
export type SelfCheckReport = {
	phase: "rest" | "move" | "passed" | "failed";
	asked: "left" | "right" | "up" | "mouth" | null;
	done: number;
	of: number;
	/**
	 * null while it runs
	 */
	passed: boolean | null;
	why: string;
	/**
	 * in which it stands
	 */
	record?: string | undefined;
	error?: string | undefined;
};
/**
 * text: with the fix
 */
export type Remark = {
	measure: string;
	value: number;
	bound: number;
	unit: string;
	text: string;
};
/**
 * The shapes of what passes between this page and its server (docs/live.md), as types alone.
 */
export type Mode = "puppet" | "edit";
type Report$1 = {
	outcome: "generated" | "held" | "faded" | "waiting" | "pass_through";
	reason: string | null;
	faces: number;
	/**
	 * milliseconds, in order
	 */
	stages: Record<string, number>;
	/**
	 * null while nothing left
	 */
	age_ms: {
		p50: number;
		p95: number;
	} | null;
	filter_lag_ms: number | null;
	/**
	 * as the server's own RTCP measured it
	 */
	round_trip_ms?: number | null | undefined;
	fps_in: number;
	fps_out: number;
	dropped: Record<string, number>;
	codec: string | null;
	kbps: number;
	/**
	 * why the camera's picture will look bad
	 */
	coach?: Remark[] | undefined;
	size: [
		number,
		number
	];
	bundle?: string | null | undefined;
	mode?: Mode | null | undefined;
	worker: string;
	restarts: number;
	changes: number;
	measuring: boolean;
	paused: boolean;
	pass_through: boolean;
	driver_pixels: boolean;
	/**
	 * null while none comes
	 */
	sound?: SoundReport | null | undefined;
	/**
	 * why plain grey stands in place of the picture
	 */
	withheld?: string | null | undefined;
	/**
	 * null where none was begun
	 */
	self_check?: SelfCheckReport | null | undefined;
	/**
	 * null while it is not recorded on the server
	 */
	recording?: RecordingReport | null | undefined;
};
/**
 * The shapes of what passes between this page and its server (docs/live.md), as types alone.
 */
export type RecordingReport = {
	id: string;
	seconds: number;
	bytes: number;
};
/**
 * The shapes of what passes between this page and its server (docs/live.md), as types alone.
 */
export type SoundReport = {
	/**
	 * for how long it is held back
	 */
	delay_ms: number | null;
	/**
	 * by how much it leaves after its picture
	 */
	skew_ms: number | null;
	/**
	 * whether the browser's own clocks tell, rather than arrivals
	 */
	by_reports: boolean;
	muted: boolean;
	/**
	 * packets by reason
	 */
	dropped: Record<string, number>;
};
/**
 * The shapes of what passes between this page and its server (docs/live.md), as types alone.
 */
export type Controls = {
	pose: number;
	mouth: number;
	eyes: number;
	brows: number;
	gaze: number;
	motion: number;
	absolute_mouth: boolean;
	absolute_eyes: boolean;
	absolute_gaze: boolean;
	au_offsets: Record<string, number>;
	remove: boolean;
	directions: Record<string, number>;
	output_size: number;
	layout: Record<string, number>;
	donor_layout: boolean;
	donor_style: boolean;
	project: boolean;
};
/**
 * The shapes of what passes between this page and its server (docs/live.md), as types alone.
 */
export type Driver = "camera" | "demo" | "tracker";
/**
 * The shapes of what passes between this page and its server (docs/live.md), as types alone.
 */
export type Change = {
	controls?: Controls | undefined;
	smoothing?: number | undefined;
	source?: string | undefined;
	recalibrate?: true | undefined;
	driver?: Driver | undefined;
	expression?: {
		name: string;
		intensity: number;
	} | undefined;
	bundle?: string | undefined;
	mode?: Mode | undefined;
	donors?: string[] | undefined;
};
/**
 * The shapes of what passes between this page and its server (docs/live.md), as types alone.
 */
export type Message = {
	ack?: number;
	changes?: number;
	error?: string;
	report?: Report$1;
	stopped?: string;
	pong?: number;
	statement?: Statement;
};
/**
 * what a call is made with
 */
export type Plan = {
	source: string;
	driver: Driver;
	/**
	 * "auto", "vp8" or "h264"
	 */
	codec: string;
	/**
	 * what is sent; null with the demo driver
	 */
	track: MediaStreamTrack | null;
	/**
	 * direction of the sound, null without
	 */
	sound: "sendonly" | "sendrecv" | null;
	/**
	 * what is sent of it, null for silence
	 */
	soundTrack: MediaStreamTrack | null;
	/**
	 * what a slow line keeps
	 */
	keep: RTCDegradationPreference;
	/**
	 * most that is sent, bits per second
	 */
	bitrate: number;
	iceServers: RTCIceServer[];
	/**
	 * what is to leave, where the server offers a choice
	 */
	wish: {
		bundle?: string;
		mode?: Mode;
		donors?: string[];
	};
	/**
	 * of WHIP, this server's own where it is left out
	 */
	endpoint?: string | undefined;
	/**
	 * of every request
	 */
	headers?: Record<string, string> | undefined;
};
export type CallPhase = "connecting" | "live" | "reconnecting" | "ended";
export type CallEvents = {
	/**
	 * "ended" comes last; why is empty when the user ended it
	 */
	phase: (phase: CallPhase, why: string) => void;
	picture: (stream: MediaStream) => void;
	/**
	 * a control channel is open, for the first time or again: say all that is set;
	 * source: what this link was opened with
	 */
	open: (source: string) => void;
	message: (message: Message) => void;
	/**
	 * the server does not have it: what to show instead
	 */
	sourceGone: (source: string) => Promise<string | null>;
	/**
	 * the server does not have all of them: whether those that are gone are known
	 */
	donorsGone: () => Promise<boolean>;
	/**
	 * the server does not let this page in any more; the call has ended
	 */
	lockedOut: () => void;
};
/**
 * Watches a stream until `stop`. Events: "phase" {phase, why}, "picture" MediaStream with the sound in it, "statement"
 * what the server states of the session, at the beginning and whenever it changes: checkStatement says whether it holds.
 *
 * @param {Watched} watched
 * @returns {EventTarget & {stop: () => void, hurry: () => void, stats: () => Promise<RTCStatsReport | null>}}
 */
export function watch({ server, token, stream, endpoint, iceServers }: Watched): EventTarget & {
	stop: () => void;
	hurry: () => void;
	stats: () => Promise<RTCStatsReport | null>;
};
/**
 * What somebody drives: it stays up until `stop`, over lost connections.
 *
 * Events, all with a `detail`: "phase" {phase, why}, "picture" MediaStream (also after each reconnection), "report" (five
 * a second), "statement" (what the server states of the session, signed: docs/statement.md) and "message", every one of
 * the server's (docs/live.md).
 */
export class Session extends EventTarget {
	/**
	 * @param {Options} options
	 * @param {Partial<CallEvents>} told also told, before the events; sourceGone and donorsGone say what to do instead
	 */
	constructor(options: Options, told?: Partial<CallEvents>);
	/** The picture that is generated, with the sound where that comes back; null before it began. @type {MediaStream | null} */
	stream: MediaStream | null;
	/** @type {CallPhase} */
	phase: CallPhase;
	/** What the next connection is made with; what runs is turned by `change`. */
	get plan(): Plan;
	/** The id of the session that answers now, or null between two connections. */
	get session(): string | null;
	/**
	 * Portrait, system, mode, controls, expression: docs/live.md says what. Throws what the server says against it.
	 *
	 * @param {Change} change
	 * @returns {Promise<number>} its number
	 */
	change(change: Change): Promise<number>;
	/** @param {boolean} on nobody hears it */
	mute(on: boolean): void;
	/** @param {boolean} on the last picture is held, and nobody hears it */
	pause(on: boolean): void;
	/**
	 * Begins a live check that the driver is who the portrait shows, or stops it; reports say in `self_check` what to do and
	 * what came of it (docs/self_check.md). The portrait has to be one that was added as `myself`.
	 *
	 * @param {boolean} on
	 * @returns {boolean} whether it was asked for
	 */
	selfCheck(on: boolean): boolean;
	/**
	 * Another camera, or none: a portrait idles then, and in place of an edited picture grey leaves.
	 *
	 * @param {MediaStreamTrack | null} track
	 */
	camera(track: MediaStreamTrack | null): Promise<void>;
	/** @param {MediaStreamTrack | null} track another microphone, or silence */
	microphone(track: MediaStreamTrack | null): Promise<void>;
	/**
	 * The driver's face as numbers, where the driver is "tracker": no picture leaves this page then (docs/trackers.md).
	 *
	 * One that would wait behind others is let fall: the next one is newer.
	 *
	 * @param {FaceResult | null} result of detectForVideo; null, or one without a face: nobody
	 * @returns {boolean} whether it went out
	 */
	sendFace(result: FaceResult | null): boolean;
	/**
	 * Any message of docs/live.md.
	 *
	 * @param {object} message
	 * @returns {boolean} whether it went out
	 */
	send(message: object): boolean;
	/** @param {MediaStreamTrack} track */
	replaceTrack(track: MediaStreamTrack): Promise<void>;
	/** The browser's own figures, or null between two connections. */
	stats(): Promise<RTCStatsReport | null>;
	/** Ends it here and at the server, at once. */
	stop(): void;
	#private;
}
export function connect(options?: Options, told?: Partial<CallEvents>): Session;
/**
 * of a session
 */
export type Options = {
	/**
	 * the origin of another site's server (scheme, host and port); this page's own where it is left out
	 */
	server?: string | undefined;
	/**
	 * with the scope publish or api; not needed on the server's own pages
	 */
	token?: string | undefined;
	/**
	 * the name that it is published as, for viewers; by chance where it is left out
	 */
	stream?: string | undefined;
	/**
	 * of WHIP, in place of `stream`
	 */
	endpoint?: string | undefined;
	/**
	 * id of a portrait; the server's first where it is left out
	 */
	source?: string | undefined;
	bundle?: string | undefined;
	mode?: Mode | undefined;
	/**
	 * ids of portraits
	 */
	donors?: string[] | undefined;
	/**
	 * "camera" with a camera, else "tracker", which sendFace moves
	 */
	driver?: Driver | undefined;
	camera?: MediaStreamTrack | null | undefined;
	microphone?: MediaStreamTrack | null | undefined;
	/**
	 * null: none; sendrecv: it comes back beside the picture, in time with
	 * it. Where it is left out it does when there is a microphone
	 */
	sound?: "sendonly" | "sendrecv" | null | undefined;
	/**
	 * "auto", "vp8" or "h264"
	 */
	codec?: string | undefined;
	/**
	 * what a slow line keeps
	 */
	keep?: RTCDegradationPreference | undefined;
	/**
	 * most that is sent, bits per second
	 */
	bitrate?: number | undefined;
	/**
	 * those of `/api/v1/info`
	 */
	iceServers?: RTCIceServer[] | undefined;
};
/**
 * what MediaPipe's FaceLandmarker gives, with blendshapes and matrices asked for
 */
export type FaceResult = {
	faceBlendshapes?: {
		categories: {
			categoryName: string;
			score: number;
		}[];
	}[] | undefined;
	facialTransformationMatrixes?: {
		data: number[] | Float32Array;
	}[] | undefined;
};
/**
 * what is watched
 */
export type Watched = {
	server?: string | undefined;
	/**
	 * with the scope view or api
	 */
	token?: string | undefined;
	stream?: string | undefined;
	/**
	 * of WHEP, in place of `stream`
	 */
	endpoint?: string | undefined;
	iceServers?: RTCIceServer[] | undefined;
};

export {};
