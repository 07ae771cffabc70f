import { merge } from 'rxjs';
import { inspect } from '../apply/index.ts';
import type { GuardedRedirect, Journal } from '../kernel/index.ts';
import { linkEvents, tableEvents } from '../kernel/sources.ts';
import type { Capabilities } from '../model/index.ts';
import type { MonitorStream } from '../monitor/stream.ts';
import { Sides } from '../pipeline/index.ts';
import { type ChangedTree, type Datapath, formatDetail, type LinkShape, type Operation } from '../shape/index.ts';
import type { Wanted } from './applied.ts';
import { Deadline } from './deadline.ts';
import { guardedByName } from './guarded.ts';
import type { Guarding } from './guarding.ts';
import { keepFollowing } from './keep-following.ts';
import type { Kept } from './kept.ts';
import { LinkKeeper } from './link-keeper.ts';
import { LinkWatch } from './link-watch.ts';
import { MadeTrees } from './made-trees.ts';
import { changeKernel } from './reload.ts';
import type { ServiceStatus } from './status.ts';

/**
 * The links in force: who keeps each and who watches over all, what their trees were like when they were made, and how long
 * packets are classified.
 */
export class Links {
  readonly sides = new Sides((ifindex) => this.#keepers.some(({ deviceIndex }) => deviceIndex === ifindex));
  readonly #stream: MonitorStream;
  readonly #guarding: Guarding;
  readonly #made = new MadeTrees();
  /** Sockets that are broken now. */
  readonly #broken = new Set<string>();
  #keepers: readonly LinkKeeper[] = [];
  #watch!: LinkWatch;
  #deadline: Deadline | undefined;

  private constructor(stream: MonitorStream, guarding: Guarding) {
    this.#stream = stream;
    this.#guarding = guarding;
  }

  /**
   * Builds the links of `wanted`, or takes them as they are, and keeps them from then on.
   *
   * @param guarding is told what is redirected, at every moment
   * @param deadline ms, of {@link Deadline}
   */
  static async open(
    { shapes, datapath }: Wanted,
    how: 'anew' | 'as it is',
    stream: MonitorStream,
    guarding: Guarding,
    deadline: number | undefined,
  ): Promise<Links> {
    const links = new Links(stream, guarding);
    const tell = () => guarding.tell(links.#guarded);
    links.#keepers = shapes.map((shape) => links.#keeperOf(shape, datapath));
    tell();
    links.#watch = await LinkWatch.open(
      merge(links.#follow('links', linkEvents), links.#follow('tables', tableEvents)),
      links.sides,
      stream.warn('the watch on links'),
      tell,
    );
    if (datapath.name === 'bpf' || datapath.passAfter)
      links.#deadline = new Deadline(deadline, datapath, links.#watch, () => links.shapes, stream.warn('the deadline'));
    try {
      for (const keeper of links.#keepers) await links.#watch.add(keeper, how);
      await links.exclusively(() => Promise.all([links.#made.remember(shapes), links.#deadline?.renew()]));
    } catch (error) {
      await links.close();
      throw error;
    }
    return links;
  }

  get #guarded(): GuardedRedirect[] {
    return this.#keepers.flatMap((keeper) => keeper.guarded);
  }

  get shapes(): readonly LinkShape[] {
    return this.#keepers.map(({ shape }) => shape);
  }

  get status(): Pick<ServiceStatus, 'links' | 'deadline'> {
    return {
      links: this.#keepers.map(({ shape, state }) => ({
        name: shape.link,
        device: shape.device,
        state,
        ifbs: shape.ifbs.map((ifb) => ifb.name),
        upload: shape.upload !== undefined,
      })),
      deadline: this.#deadline?.status,
    };
  }

  /** The kernel is listened to. */
  get alive(): boolean {
    return this.#broken.size === 0 && this.#watch.listening;
  }

  /**
   * Changes them from one policy to another, to be called while no keeper is at work; returns what is left to remove.
   *
   * @throws HeadgateError as {@link changeKernel} does; then nothing has changed
   */
  async change(from: Wanted, to: Wanted, capabilities: Capabilities, journal: Journal): Promise<readonly Operation[]> {
    const add = (shape: LinkShape, ...looks: Parameters<LinkKeeper['begin']>) => {
      const keeper = this.#keeperOf(shape, to.datapath);
      keeper.begin(...looks);
      return keeper;
    };
    const odd = await this.#made.listChanged(from.shapes);
    // Killed in between, what is in force may be this or that.
    this.#guarding.tell([...this.#guarded, ...to.shapes.flatMap((shape) => guardedByName(shape, to.datapath))]);
    const { keepers, after } = await changeKernel(from, to, odd, this.#keepers, add, capabilities, journal);
    this.#keepers = keepers;
    this.#watch.replace(keepers);
    this.#guarding.tell(this.#guarded);
    // From here on the new policy is in force, whatever fails.
    await this.#made.remember(to.shapes).catch(this.#stream.warn('what the trees are like'));
    await this.#deadline?.renew();
    for (const tree of odd) this.#stream.emit({ kind: 'warning', message: sayPutBack(tree) });
    return after;
  }

  /** What was left alone, because somebody took it away again and again, is put back once more. To be called while no keeper is at work. */
  async beginAnew(datapath: Datapath): Promise<void> {
    const scene = await inspect();
    for (const keeper of this.#keepers) keeper.become(keeper.shape, datapath, scene, scene);
  }

  /** Has the deadline moved on, and as what waits to be confirmed wants it. Call the result to stop. */
  keepDeadline(): () => void {
    return this.#deadline?.keep(this.#stream.notices) ?? (() => {});
  }

  /** {@link LinkWatch.keep} */
  keep(kept: Kept): void {
    this.#watch.keep(kept);
  }

  /** {@link LinkWatch.exclusively} */
  exclusively<T>(task: () => Promise<T>): Promise<T> {
    return this.#watch.exclusively(task);
  }

  /** {@link LinkWatch.wholly} */
  wholly<T>(task: () => Promise<T>): Promise<T> {
    return this.#watch.wholly(task);
  }

  /** Stops to keep them; resolves when what was begun is done. */
  close(): Promise<void> {
    return this.#watch.close();
  }

  #keeperOf(shape: LinkShape, datapath: Datapath): LinkKeeper {
    return new LinkKeeper(shape, datapath, (event) => this.#stream.emit(event));
  }

  #follow<T>(what: string, follow: Parameters<typeof keepFollowing<T>>[0]) {
    return keepFollowing(
      follow,
      (error) => {
        this.#broken.add(what);
        this.#stream.warn(`the watch on ${what} broke; opening it again`)(error);
      },
      () => {
        if (this.#broken.delete(what)) this.#watch.doubt();
      },
    );
  }
}

const sayPutBack = ({ place, details }: ChangedTree): string =>
  `somebody had changed the tree on ${place.device}, it is put back: ${details.map(formatDetail).join('; ')}`;
