import type { Observable, Subscription } from 'rxjs';
import type { LinkItem } from '../kernel/index.ts';
import type { Sides, SidesChange } from '../pipeline/index.ts';
import type { LinkKeeper } from './link-keeper.ts';

/**
 * Hears what the kernel says of links, addresses and routes, and passes it on in order: to Sides at once, to the
 * keepers one item at a time, since what they do about it takes a moment.
 */
export class LinkWatch {
  readonly #sides: Sides;
  #keepers: readonly LinkKeeper[] = [];
  readonly #failed: (error: unknown) => void;
  readonly #subscription: Subscription;
  #queue: Promise<void> = Promise.resolve();
  /** A telling from the start, until it is whole: meanwhile what was known holds. */
  #telling: SidesChange[] | undefined;

  private constructor(
    items: Observable<readonly LinkItem[]>,
    sides: Sides,
    ready: () => void,
    failed: (error: unknown) => void,
  ) {
    this.#sides = sides;
    this.#failed = failed;
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

  /** Resolves when the kernel has told everything once. */
  static async open(
    items: Observable<readonly LinkItem[]>,
    sides: Sides,
    failed: (error: unknown) => void,
  ): Promise<LinkWatch> {
    let watch: LinkWatch | undefined;
    await new Promise<void>((resolve, reject) => {
      watch = new LinkWatch(items, sides, resolve, (error) => {
        reject(error);
        failed(error);
      });
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

  /** The kernel is listened to. */
  get listening(): boolean {
    return !this.#subscription.closed;
  }

  /** Does something while no keeper is at work; what happens meanwhile is told afterwards. */
  exclusively<T>(task: () => Promise<T>): Promise<T> {
    const doing = this.#queue.then(task);
    this.#queue = doing.then(
      () => {},
      () => {},
    );
    return doing;
  }

  /** Stops listening; resolves when what was begun is done. */
  close(): Promise<void> {
    this.#subscription.unsubscribe();
    return this.#queue;
  }

  #enqueue(batch: readonly LinkItem[]): void {
    this.#queue = this.#queue.then(async () => {
      for (const item of batch)
        for (const keeper of this.#keepers) await keeper.follow(item).catch((error) => this.#warn(keeper, error));
    });
  }

  /** A step that failed is said, and the next item is another chance. */
  #warn(keeper: LinkKeeper, error: unknown): void {
    const message = error instanceof Error ? error.message : String(error);
    this.#failed(new Error(`link ${keeper.shape.link}: ${message}`, { cause: error }));
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
