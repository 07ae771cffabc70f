import type { DeviceCount } from '../kernel/index.ts';
import type { Count, Origin, Rate } from '../model/index.ts';
import type { LinkState } from '../monitor/index.ts';
import type { DatapathName, Way } from '../shape/index.ts';
import type { Unconfirmed } from './confirmation.ts';

/** What the running service knows beyond the kernel; `GET /service` of the control socket. */
export interface ServiceStatus extends FlowsStatus {
  readonly pid: number;
  readonly policy: string;
  readonly datapath: DatapathName;
  /** The bits of the ct mark that are ours: `0x7f000000`. */
  readonly marks: string;
  readonly links: readonly {
    readonly name: string;
    readonly device: string;
    readonly state: LinkState;
    /** Where what arrives is to go: those of the policy in force. */
    readonly ifbs: readonly string[];
    /** What leaves is to be shaped. */
    readonly upload: boolean;
  }[];
  /** In the order of the policy; the number is that of the class, and of the mark. */
  readonly queues: readonly { readonly name: string; readonly number: number }[];
  /** What finds out facts of flows that conntrack does not tell, as far as a rule asks for them. */
  readonly facts: readonly {
    /** Words of the language. */
    readonly word: string;
    readonly counts: Readonly<Record<string, number>>;
    /** What it cannot see. */
    readonly blind?: string | undefined;
  }[];
  /** What is taken back unless it is confirmed. */
  readonly confirm?: Unconfirmed | undefined;
  /** Ms that packets are classified for after it was last heard of, and how often it was; absent where they always are. */
  readonly deadline?: { readonly ms: number; readonly renewals: number } | undefined;
}

/** What the service does about flows. */
export interface FlowsStatus {
  /** Absent where none are followed: no rule needs it, and nobody reads of them. `live`: those that a live rule may come to take. */
  readonly flows?: ({ readonly total: number; readonly live: number } & Readonly<Record<Origin, number>>) | undefined;
  /** Conntrack event groups, and `counters`; empty: no flow costs anything outside the kernel. */
  readonly follows: readonly string[];
  /** How events come: by a ring that the kernel copies them into, or by the socket's queue, where that cannot be; absent where none do. */
  readonly by?: 'ring' | 'socket' | undefined;
  readonly marksWritten: number;
  /** Refused by the kernel; marks of flows that have ended meanwhile do not count. */
  readonly marksFailed: number;
  /** Flows for which there was no room: they go by their origin, and the kernel's rules. */
  readonly refused: number;
  readonly overruns: number;
  readonly resyncs: number;
}

/** What `headgate status` shows, and `GET /status` answers: the kernel's objects, with the service's names and counts where one runs. */
export interface Status {
  readonly running: boolean;
  /** Process that has the place of the service, and does not answer: it starts, or hangs. */
  readonly hung?: number | undefined;
  /** Our nft table is there: the kernel tracks connections in this namespace, whatever other tables do. */
  readonly tracking: boolean;
  /** The bits of the ct mark that are ours, as the kernel's table says; absent without it. */
  readonly marks?: string | undefined;
  readonly service?: ServiceStatus | undefined;
  readonly links: readonly LinkStatus[];
  /** Since the last reload. */
  readonly policers: readonly PolicerStatus[];
  /** Packets with DNS answers that came too fast to be read, since the last reload; absent where no rule asks for names. */
  readonly unreadAnswers?: number | undefined;
}

/** What `police` of a rule has done one way, over all links; bytes count from the IP header on. */
export interface PolicerStatus {
  readonly rule: string;
  readonly way: Way;
  readonly passed: Count;
  readonly dropped: Count;
}

export interface LinkStatus {
  readonly name: string;
  readonly device: string;
  /** Without a service: `kept`, what it left behind, or `open`, where the redirect is gone. */
  readonly state: LinkState | 'kept';
  /** Where what arrives goes; none where it is left alone. */
  readonly ifbs: readonly IfbStatus[];
  /** Name of the link whose ifbs and trees this is; `download` then counts both, but for the packets by verdict. */
  readonly shares?: string | undefined;
  /** Our redirect leads to an ifb that is down, or gone: what arrives is lost, until a deadline ({@link DirectionStatus.expires}) lets it pass. */
  readonly downloadLost: boolean;
  /** What leaves is to be shaped, and our tree is not there: it has gone, or somebody has put another in its place. */
  readonly uploadLost: boolean;
  readonly download?: DirectionStatus | undefined;
  readonly upload?: DirectionStatus | undefined;
}

export interface IfbStatus {
  readonly name: string;
  /** What this link's redirect has sent there since the last reload. */
  readonly redirected: Count;
  /** What came to it; it has dropped what came from anywhere but a redirect. */
  readonly rx: DeviceCount;
  /** What it has passed on. */
  readonly tx: DeviceCount;
}

export interface DirectionStatus {
  /** Packets by what the classifier found: local, remote, new, marked, left_alone, ...; of the datapath bpf alone. */
  readonly packets: Readonly<Record<string, number>>;
  /** Ms after which packets pass untouched, unless somebody renews it; from 0 down they do. Absent: they never will. */
  readonly expires?: number | undefined;
  readonly queues: readonly QueueStatus[];
}

export interface QueueStatus {
  /** Absent where no service runs, and no record says what is in force: the kernel knows numbers. */
  readonly name?: string | undefined;
  /** On which it stands: an ifb of the link, or the link's own. */
  readonly device: string;
  readonly classid: string;
  /** `tin` where the tree is cake, which counts what comes in; the others count what goes out. */
  readonly leaf: string;
  /** Guaranteed and most, bit/s; absent where the tree knows no such thing (prio). Of a tin: up to where it goes first. */
  readonly rate?: Rate | undefined;
  readonly ceil?: Rate | undefined;
  readonly bytes: number;
  readonly packets: number;
  readonly drops: number;
  readonly overlimits: number;
  readonly backlogBytes: number;
  /** Absent where the kernel does not count them by queue (cake). */
  readonly backlogPackets?: number | undefined;
}
