import type { Observable } from 'rxjs';
import { inMs, isOurUpload, type Scene, setPrograms } from '../apply/index.ts';
import { DEADLINE_MAP, type Filter, isGone, listFilters, runCommand } from '../kernel/index.ts';
import type { MonitorItem } from '../monitor/index.ts';
import { type Datapath, formatHandle, type LinkShape, passArrivalsAfter, UPLOAD_MAJOR } from '../shape/index.ts';
import type { LinkWatch } from './link-watch.ts';

/** Ms that packets are classified for after the service was last heard of, where nobody asks for another time. */
export const DEFAULT_DEADLINE_MS = 60_000;

/** Renewed so many times in its time: a machine that is busy may miss some. */
const RENEWALS = 4;
/** Ms, from the end of the time to confirm, in which whoever lives takes back what was not confirmed. */
const TAKE_BACK_MS = 5000;

/**
 * The deadline in the classifiers of the datapath `bpf`, and in nft's set of `map`, from which on every packet passes
 * untouched; with `map`, every one that arrives. It is moved on as long as what watches over the links does its work: nobody's traffic hangs on a process that has died or is stuck.
 */
export class Deadline {
  readonly #ms: number | undefined;
  readonly #passAfter: Datapath['passAfter'];
  readonly #watch: LinkWatch;
  readonly #links: () => readonly LinkShape[];
  readonly #failed: (error: unknown) => void;
  #renewals = 0;
  /** As the classifiers' clock tells the time; not moved on beyond it. */
  #limit: bigint | undefined;

  /** @param ms undefined: it never comes */
  constructor(
    ms: number | undefined,
    { passAfter }: Pick<Datapath, 'passAfter'>,
    watch: LinkWatch,
    links: () => readonly LinkShape[],
    failed: (error: unknown) => void,
  ) {
    this.#ms = ms;
    this.#passAfter = passAfter;
    this.#watch = watch;
    this.#links = links;
    this.#failed = failed;
  }

  /** What the service tells of it; undefined where it never comes. */
  get status(): { readonly ms: number; readonly renewals: number } | undefined {
    return this.#ms === undefined ? undefined : { ms: this.#ms, renewals: this.#renewals };
  }

  /**
   * Gives it to all classifiers again and again, and to those that come with a link or a policy. As long as
   * something waits to be confirmed, it comes when the time for that is over. Call the result to stop.
   */
  keep(items: Observable<MonitorItem>): () => void {
    const renewInTurn = () => this.#watch.exclusively(() => this.renew());
    const following = items.subscribe((item) => {
      if (item.kind === 'confirm') {
        const left = Date.parse(item.until) - Date.now() + TAKE_BACK_MS;
        this.#limit = item.state === 'waiting' ? inMs(left) : undefined;
      } else if (item.kind !== 'link' && item.kind !== 'table' && item.kind !== 'policy') return;
      void renewInTurn();
    });
    let waiting = false;
    const timer =
      this.#ms &&
      setInterval(async () => {
        if (waiting) return;
        waiting = true;
        await renewInTurn();
        waiting = false;
      }, this.#ms / RENEWALS);
    return () => {
      clearInterval(timer);
      following.unsubscribe();
    };
  }

  /** Gives it to all classifiers that are there now. To be called while no keeper is at work; never rejects. */
  async renew(): Promise<void> {
    if (!this.#watch.listening) return;
    try {
      if (this.#passAfter) await this.#renewSet(this.#passAfter);
      else {
        const places = this.#links().flatMap(({ device, ifbs, upload }) => [
          ...(ifbs.length > 0 ? [[device, ARRIVING] as const] : []),
          ...(upload ? [[device, LEAVING] as const] : []),
        ]);
        setPrograms(await listAt(places), DEADLINE_MAP, this.#next);
      }
      this.#renewals++;
    } catch (error) {
      this.#failed(error);
    }
  }

  async #renewSet(passAfter: NonNullable<Datapath['passAfter']>): Promise<void> {
    const next = this.#next;
    const ms = next === 0n ? undefined : Number(next - process.hrtime.bigint()) / 1e6;
    // Where somebody has taken the table away, nothing is redirected.
    await runCommand(passAfter(ms)).catch((error: unknown) => {
      if (!isGone(error)) throw error;
    });
  }

  get #next(): bigint {
    const next = this.#ms === undefined ? undefined : inMs(this.#ms);
    if (this.#limit === undefined) return next ?? 0n;
    return next === undefined || next > this.#limit ? this.#limit : next;
  }
}

const ARRIVING = 'ingress';
const LEAVING = formatHandle(UPLOAD_MAJOR);

async function listAt(places: readonly (readonly [device: string, parent: string])[]): Promise<Filter[]> {
  return (await Promise.all(places.map(([device, parent]) => listFilters(device, parent)))).flat();
}

/**
 * Gives {@link DEFAULT_DEADLINE_MS} to what classifies, where nobody may come to watch over it: what was made a moment ago
 * has no deadline. @throws HeadgateError HG_KERNEL, HG_NOT_ROOT, HG_NO_SHIM
 */
export async function leaveUnwatched({ arrivals, hooks, qdiscs }: Scene): Promise<void> {
  if (arrivals === 'ours') await runCommand(passArrivalsAfter(DEFAULT_DEADLINE_MS));
  const arriving = [...hooks.values()].flatMap(({ ingress }) => ingress);
  const leaving = await listAt(qdiscs.filter(isOurUpload).map(({ device }) => [device, LEAVING] as const));
  setPrograms([...arriving, ...leaving], DEADLINE_MAP, inMs(DEFAULT_DEADLINE_MS));
}
