import type { Observable, Subscription } from 'rxjs';
import { inspect, type Scene } from '../apply/index.ts';
import type { LinkItem } from '../kernel/index.ts';
import { messageOf } from '../model/index.ts';
import type { Sides, SidesChange } from '../pipeline/index.ts';
import { TABLE } from '../shape/index.ts';
import type { Kept } from './kept.ts';
import type { LinkKeeper } from './link-keeper.ts';

/** Wait before the kernel is looked at: changes come in flocks. */
const SETTLE_MS = 50;
/** Between two looks. */
const REST_MS = 250;
/** Until the next look where something could not be made whole: twice as long each time, up to the second. */
const RETRY_MS = [1000, 60_000] as const;

/** What is told of these is none of the keepers' business, and comes in storms. */
const OF_SIDES: ReadonlySet<LinkItem['kind']> = new Set(['address', 'addressGone', 'route', 'routeGone']);

/**
 * Hears what the kernel says of links, addresses, routes and of what tc and nftables lose, and passes it on in order: to
 * Sides at once, to the keepers one item at a time, since what they do about it takes a moment. Where one is in doubt,
 * all have a look at the kernel soon, and put right what is not as it should be.
 */
export class LinkWatch {
  readonly #sides: Sides;
  #keepers: readonly LinkKeeper[] = [];
  readonly #kept: Kept[] = [];
  readonly #failed: (error: unknown) => void;
  readonly #done: () => void;
  readonly #subscription: Subscription;
  #queue: Promise<void> = Promise.resolve();
  /** A telling from the start, until it is whole: meanwhile what was known holds. */
  #telling: SidesChange[] | undefined;
  #look: { readonly timer: NodeJS.Timeout; readonly due: number } | undefined;
  #looked = Number.NEGATIVE_INFINITY;
  #retry: number = RETRY_MS[0];

  private constructor(
    items: Observable<readonly LinkItem[]>,
    sides: Sides,
    ready: () => void,
    failed: (error: unknown) => void,
    done: () => void,
  ) {
    this.#sides = sides;
    this.#failed = failed;
    this.#done = done;
    this.#subscription = items.subscribe({
      next: (batch) => {
        for (const item of batch) {
          this.#tell(item);
          if (item.kind === 'ready') ready();
        }
        this.#enqueue(batch);
      },
      error: failed,
    });
  }

  /** Resolves when the kernel has told everything once. @param done is called whenever a keeper may have changed something, or heard of a change */
  static async open(
    items: Observable<readonly LinkItem[]>,
    sides: Sides,
    failed: (error: unknown) => void,
    done: () => void,
  ): Promise<LinkWatch> {
    let watch: LinkWatch | undefined;
    await new Promise<void>((resolve, reject) => {
      const broken = (error: unknown) => {
        reject(error);
        failed(error);
      };
      watch = new LinkWatch(items, sides, resolve, broken, done);
    });
    return watch!;
  }

  /** Builds a link's part, or takes it as it is, and from then on tells its keeper what happens. What happened before is past. */
  add(keeper: LinkKeeper, how: 'anew' | 'as it is'): Promise<void> {
    return this.exclusively(async () => {
      await (how === 'anew' ? keeper.add() : keeper.adopt());
      this.#keepers = [...this.#keepers, keeper];
    });
  }

  /** These are told from now on, and no others. To be called while no keeper is at work. */
  replace(keepers: readonly LinkKeeper[]): void {
    this.#keepers = keepers;
  }

  /** Has it looked at with the links, and before them. */
  keep(kept: Kept): void {
    this.#kept.push(kept);
  }

  /** The kernel is listened to. */
  get listening(): boolean {
    return !this.#subscription.closed;
  }

  /** Does something while no keeper is at work; what happens meanwhile is told afterwards. */
  exclusively<T>(task: () => Promise<T>): Promise<T> {
    const doing = this.#queue.then(task).finally(this.#done);
    this.#queue = doing.then(
      () => {},
      () => {},
    );
    return doing;
  }

  /** The same on what was made whole just before: news may be on its way. */
  wholly<T>(task: () => Promise<T>): Promise<T> {
    return this.exclusively(async () => {
      await this.#settle();
      return task();
    });
  }

  /** Has everything looked at, in `wait` ms or sooner. */
  doubt(wait = SETTLE_MS): void {
    if (this.#subscription.closed) return;
    const now = performance.now();
    const due = Math.max(now + wait, this.#looked + REST_MS);
    if (this.#look && this.#look.due <= due) return;
    clearTimeout(this.#look?.timer);
    const timer = setTimeout(() => {
      this.#look = undefined;
      void this.exclusively(() => this.#settle());
    }, due - now);
    this.#look = { timer, due };
  }

  /** Stops listening; resolves when what was begun is done. */
  close(): Promise<void> {
    this.#subscription.unsubscribe();
    clearTimeout(this.#look?.timer);
    return this.#queue;
  }

  #enqueue(batch: readonly LinkItem[]): void {
    const items = batch.filter(({ kind }) => !OF_SIDES.has(kind));
    if (items.length === 0) return;
    for (const item of items) for (const keeper of this.#keepers) keeper.alarm(item);
    this.#queue = this.#queue.then(async () => {
      for (const item of items) {
        if (item.kind === 'tableGone' && item.name === TABLE) this.doubt();
        for (const keeper of this.#keepers) if (await this.#follow(keeper, item)) this.doubt();
        this.#done();
      }
    });
  }

  async #follow(keeper: LinkKeeper, item: LinkItem): Promise<boolean> {
    try {
      return await keeper.follow(item);
    } catch (error) {
      this.#failed(new Error(`link ${keeper.shape.link}: ${messageOf(error)}`, { cause: error }));
      return true;
    }
  }

  /** A look at everything; what one changes, the next ones see. */
  async #settle(): Promise<void> {
    let scene: Scene | undefined;
    let again = false;
    for (const kept of [...this.#kept, ...this.#keepers]) {
      if (this.#subscription.closed) return;
      try {
        scene ??= await inspect();
        const settled = await kept.settle(scene);
        again ||= settled === 'again';
        if (settled !== 'whole') scene = undefined;
      } catch (error) {
        [again, scene] = [true, undefined];
        this.#failed(error);
      }
    }
    this.#looked = performance.now();
    if (again) this.doubt(this.#retry);
    this.#retry = again ? Math.min(2 * this.#retry, RETRY_MS[1]) : RETRY_MS[0];
  }

  #tell(item: LinkItem): void {
    switch (item.kind) {
      case 'restart':
        this.#telling = [];
        break;
      case 'ready':
        this.#sides.clear();
        for (const change of this.#telling ?? []) this.#sides.apply(change);
        this.#telling = undefined;
        break;
      case 'address':
      case 'addressGone':
      case 'route':
      case 'routeGone':
        if (this.#telling) this.#telling.push(item);
        else this.#sides.apply(item);
    }
  }
}
