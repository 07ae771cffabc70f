import {
  checkLink,
  getHeld,
  inspect,
  isRedirected,
  makeRoom,
  namesOf,
  runOperations,
  type Scene,
} from '../apply/index.ts';
import { delIngressFilter, type GuardedRedirect, type LinkItem, listDevices } from '../kernel/index.ts';
import { HeadgateError, messageOf } from '../model/index.ts';
import type { LinkEvent, LinkState } from '../monitor/index.ts';
import {
  type Datapath,
  type HeldLink,
  hooksOf,
  type LinkShape,
  type LinkSite,
  linkOperations,
  repairLink,
} from '../shape/index.ts';
import { guardedOf } from './guarded.ts';
import type { Settled } from './kept.ts';
import { type Known, KnownIfbs, known } from './known-ifbs.ts';
import { leaveLink, removeHook, tryCommand } from './leave-link.ts';
import { FIGHT, RepairBudget } from './repair-budget.ts';

const IFF_UP = 1;

/**
 * Keeps one link's part of the kernel right while devices come, go and change their names under it, and while others take
 * away what is ours. Two ways, so that no message's loss or order matters: what the kernel tells ({@link follow}) takes the
 * redirect away at once where an ifb is in doubt, since unshaped traffic is a nuisance, a redirect to nowhere an outage;
 * all else is done by a look at the kernel as it is ({@link settle}).
 *
 * One call at a time; items in the order in which the kernel sent them.
 */
export class LinkKeeper {
  #shape: LinkShape;
  #datapath: Datapath;
  readonly #emit: (event: LinkEvent) => void;
  readonly #budget = new RepairBudget();
  #state: LinkState = 'absent';
  /** What stands in the way, as it was said: once. */
  #obstacle: string | undefined;
  #site: LinkSite | undefined;
  /** An ifb that somebody has set down. */
  #down: string | undefined;
  #device: Known | undefined;
  /** What cut the redirect, until it is followed: a look that was begun before knows less. */
  readonly #alarms = new Set<LinkItem>();
  readonly #ifbs = new KnownIfbs();

  constructor(shape: LinkShape, datapath: Datapath, emit: (event: LinkEvent) => void) {
    this.#shape = shape;
    this.#datapath = datapath;
    this.#emit = emit;
  }

  get shape(): LinkShape {
    return this.#shape;
  }

  get state(): LinkState {
    return this.#state;
  }

  /** Index of the device now; undefined while it is absent. */
  get deviceIndex(): number | undefined {
    return this.#device?.index;
  }

  /** What its redirect hangs on, as far as the kernel has told: what is not there comes under its name. */
  get guarded(): GuardedRedirect[] {
    const { device, ifbs } = this.#shape;
    const indices = this.#ifbs.indices;
    const missing = indices.length < ifbs.length ? ifbs.map(({ name }) => name) : [];
    return guardedOf(this.#shape, this.#datapath, this.#device?.index ?? device, [...indices, ...missing]);
  }

  /**
   * Builds the link's part, or nothing.
   *
   * @throws HeadgateError as checkLink does, and HG_KERNEL
   */
  async add(): Promise<void> {
    const { device, shares, ifbs } = this.shape;
    const scene = await inspect();
    checkLink(this.shape, scene, this.#datapath);
    const there = ownershipsOf(scene);
    const missing = shares === undefined ? undefined : ifbs.find(({ name }) => !there.has(name));
    if (missing) throw new HeadgateError('HG_NO_DEVICE', { device: missing.name, devices: namesOf(scene) });
    // One that is no concern of the datapath's is not ours to remove, whenever it came.
    const site = { ingressHook: scene.hooks.has(device) || !this.#datapath.hook, ifbs: there };
    const room = await makeRoom(this.shape, scene);
    await runOperations([...room, ...linkOperations(this.shape, site, this.#datapath)]);
    const after = { devices: await listDevices() };
    this.#ifbs.clear();
    this.#ifbs.look(this.shape, after, () => false);
    this.#device = known(after.devices, device);
    this.#site = site;
    if (!this.#device) {
      await this.#leave(device, known(scene.devices, device)?.index);
      throw new HeadgateError('HG_NO_DEVICE', { device, devices: namesOf(after) });
    }
    this.#state = this.#built;
  }

  /** Takes over the link's part, which is there, whole. @throws HeadgateError HG_NO_DEVICE */
  async adopt(): Promise<void> {
    const { device, ifbs } = this.shape;
    const scene = await inspect();
    const there = ownershipsOf(scene);
    const missing = known(scene.devices, device) ? ifbs.find(({ name }) => !there.has(name))?.name : device;
    if (missing !== undefined) throw new HeadgateError('HG_NO_DEVICE', { device: missing, devices: namesOf(scene) });
    this.begin(scene, scene);
  }

  /** The link's part was made, between the two looks. */
  begin(was: Scene, scene: Scene): void {
    this.#device = known(scene.devices, this.shape.device);
    if (this.#device) this.#look(was, scene);
  }

  /** The link's part was changed to another shape, between the two looks. An absent device comes back in the new shape. */
  become(shape: LinkShape, datapath: Datapath, was: Scene, scene: Scene): void {
    const state = this.#state;
    this.#shape = shape;
    this.#datapath = datapath;
    this.#budget.refill();
    if (!this.#device) return;
    this.#look(was, scene);
    if (this.#state !== state) this.#change(this.#state, 'the policy was changed');
  }

  #look(was: Scene, scene: Scene): void {
    const { device, ifbs } = this.shape;
    this.#ifbs.look(this.shape, scene, (ifb) => was.devices.some(({ index }) => index === ifb));
    const named = ownershipsOf(scene);
    const hooks = [...named.values()].flatMap(hooksOf);
    this.#site = { ingressHook: !hooks.some((hook) => hook.device === device && hook.clsact), ifbs: named };
    this.#state = ifbs.length > 0 && !isRedirected(scene, device) ? 'open' : this.#built;
  }

  /** What the link does when all is well. */
  get #built(): LinkState {
    return this.shape.ifbs.length === 0 && !this.shape.upload ? 'watching' : 'steering';
  }

  /**
   * Takes the redirect away where what the kernel tells leaves it leading nowhere: at once, whoever is at work. Traffic
   * waits for nobody; the rest is for {@link follow}.
   */
  alarm(item: LinkItem): void {
    if (item.kind !== 'linkGone' && !(item.kind === 'link' && (item.flags & IFF_UP) === 0)) return;
    const ifb = this.#ifbs.get(item.ifindex);
    if (!ifb || !(ifb.seenUp || item.kind === 'linkGone')) return;
    this.#alarms.add(item);
    this.#cut();
  }

  /** Hears of a change. True: the link may not be as it should be, and is to be looked at ({@link settle}). */
  async follow(item: LinkItem): Promise<boolean> {
    // Whatever had its turn meanwhile may have seen it otherwise.
    const alarmed = this.#alarms.delete(item);
    return (await this.#follow(item)) || alarmed;
  }

  async #follow(item: LinkItem): Promise<boolean> {
    switch (item.kind) {
      case 'restart':
        this.#ifbs.hearAnew();
        return false;
      case 'ready':
      case 'overrun':
        return true;
      case 'link':
        return this.#followLink(item.ifindex, item.name, (item.flags & IFF_UP) !== 0);
      case 'linkGone': {
        const gone = this.#ifbs.get(item.ifindex);
        if (gone) {
          this.#ifbs.del(gone.index);
          await this.#ifbGone(gone);
        }
        return gone !== undefined || item.ifindex === this.#device?.index;
      }
      case 'tcGone':
        return item.ifindex === this.#device?.index || this.#ifbs.get(item.ifindex) !== undefined;
      default:
        return false;
    }
  }

  async #ifbGone({ name }: Known): Promise<void> {
    // What is deleted is told to be down first.
    if (this.#down === name) this.#down = undefined;
    await this.#open(`${name} was deleted; arriving packets pass unshaped`);
    // The repair makes it anew.
    await removeHook(this.#site, this.shape.device);
  }

  async #followLink(index: number, name: string, up: boolean): Promise<boolean> {
    const now = this.#ifbs.hear(index, name, up);
    if (!now) return (index === this.#device?.index) !== (name === this.shape.device);
    if (!now.up && this.#state === 'steering') {
      // Here, too: it may be up again before anybody looks.
      this.#down = name;
      await this.#open(`${name} was set down; arriving packets pass unshaped`);
    }
    return now.changed;
  }

  /**
   * Makes the link's part whole: follows a device that went, came, or is called something else, and puts back what is
   * missing, unless that has been done too often of late.
   */
  async settle(scene: Scene): Promise<Settled> {
    const device = known(scene.devices, this.shape.device);
    const lost = this.#device !== undefined && this.#device.index !== device?.index;
    if (lost) await this.#deviceGone(scene);
    if (!device) return lost ? 'changed' : 'whole';
    return this.#device ? this.#repair(scene) : this.#deviceCame();
  }

  async #deviceGone({ devices }: Scene): Promise<void> {
    const was = this.#device!;
    const now = devices.find(({ index }) => index === was.index)?.name;
    // Where that fails it is tried again with the next look.
    await this.#leave(now ?? was.name, was.index);
    this.#device = undefined;
    const reason = now === undefined ? `${was.name} is gone` : `${was.name} is called ${now} now`;
    this.#change('absent', `${reason}; waiting for a device ${this.shape.device}`);
  }

  async #deviceCame(): Promise<Settled> {
    this.#budget.refill();
    try {
      await this.add();
      this.#obstacle = undefined;
      this.#change(this.#built, `${this.shape.device} is back`);
      return 'changed';
    } catch (error) {
      if (this.#obstacle !== messageOf(error))
        this.#change('absent', `${this.shape.device} is back, but: ${messageOf(error)}`);
      this.#obstacle = messageOf(error);
      return 'again';
    }
  }

  /** Each direction by itself: what stands in the way of one is none of the other's business. */
  async #repair(looked: Scene): Promise<Settled> {
    // What was told has its turn first: it may be older than the look, or younger.
    if (this.#alarms.size > 0) return 'changed';
    const gone = this.#ifbs.rename(looked);
    for (const ifb of gone) await this.#ifbGone(ifb);
    const scene = gone.length > 0 ? await inspect() : looked;
    const shape = this.#ifbs.call(this.shape);
    const { device } = shape;
    const down = scene.devices.find((d) => !d.up && shape.ifbs.some(({ name }) => name === d.name));
    if (down && isRedirected(scene, device))
      await this.#open(`${down.name} was set down; arriving packets pass unshaped`);
    this.#down = down?.name ?? this.#down;
    // An ifb that somebody has set down waits for somebody to set it up.
    const parts = [...(down ? [] : [{ ...shape, upload: undefined }]), { ...shape, ifbs: [] }];
    let settled: Settled = 'whole';
    for (const part of parts) {
      // A look that fails says nothing of what is there: there will be another.
      const held = await getHeld(part, scene, this.#datapath);
      // It is missing because of what the look does not show.
      if (part.ifbs.length > 0 && this.#alarms.size > 0) continue;
      try {
        if ((await this.#repairPart(part, held, scene)) && settled === 'whole') settled = 'changed';
      } catch (error) {
        await this.#giveUp(part, messageOf(error));
        settled = 'again';
      }
    }
    return settled;
  }

  /** One direction. True: something was missing, and is there again. */
  async #repairPart(part: LinkShape, held: HeldLink, scene: Scene): Promise<boolean> {
    const { device } = part;
    const { clear, operations } = repairLink(part, this.#site!, this.#datapath, held);
    if (operations.length === 0) return false;
    // What others have at the ingress hook is in the way of a redirect alone.
    // Who puts another root qdisc there now has seen ours.
    if (part.upload || clear.length > 0) checkLink({ ...part, replacesRoot: false }, scene, this.#datapath);
    const about = operations.map((operation) => operation.about).join(', ');
    const isUp = part.ifbs.length > 0 && this.#down !== undefined;
    if (!isUp && this.#budget.isSpent) {
      await this.#giveUp(part, FIGHT);
      return false;
    }
    for (const command of clear) await tryCommand(command);
    await runOperations(operations);
    if (part.ifbs.length > 0) {
      const after = await inspect();
      const hooked = this.#datapath.hook && !scene.hooks.has(device);
      this.#site = { ingressHook: this.#site!.ingressHook && !hooked, ifbs: ownershipsOf(after) };
      this.#ifbs.look(part, after, () => false);
      if (this.#alarms.size > 0) this.#cut();
    }
    const state = part.ifbs.length === this.shape.ifbs.length ? this.#built : this.#state;
    this.#change(state, isUp ? `${this.#down} is up again` : `somebody took it away, it is put back: ${about}`);
    if (isUp) this.#down = undefined;
    else this.#budget.note();
    this.#obstacle = undefined;
    return true;
  }

  /** A direction stays as it is, but what arrives is let pass. */
  async #giveUp({ device, ifbs }: LinkShape, reason: string): Promise<void> {
    const said = this.#obstacle === reason;
    this.#obstacle = reason;
    // What others have put where ours is not stays.
    const open =
      ifbs.length > 0 &&
      (await inspect().then(
        (scene) => isRedirected(scene, device),
        () => true,
      ));
    if (open) await this.#open(reason);
    // What was said may have been of the other direction.
    else if (!said || (ifbs.length > 0 && this.#state === 'steering'))
      this.#change(ifbs.length > 0 || this.shape.ifbs.length === 0 ? 'open' : this.#state, reason);
  }

  #cut(): void {
    if (this.#device) for (const filter of this.#datapath.entries) delIngressFilter(this.#device.index, filter);
  }

  /** Lets arriving packets pass, at once; then the rest goes. What cannot be removed is said: traffic hangs on it. */
  async #open(reason: string): Promise<void> {
    const { device } = this.shape;
    this.#cut();
    const failure = await tryCommand(this.#datapath.unredirect(device, this.shape));
    const left = failure && isRedirected(await inspect(), device);
    this.#change('open', left ? `the redirect of ${device} could not be removed: ${failure.message}` : reason);
  }

  async #leave(device: string, index: number | undefined): Promise<void> {
    const on = { device: index, ifbs: this.#ifbs.indices };
    await leaveLink({ shape: this.shape, datapath: this.#datapath, site: this.#site }, device, on);
    this.#ifbs.clear();
  }

  #change(state: LinkState, reason: string): void {
    this.#state = state;
    this.#emit({ kind: 'link', name: this.shape.link, device: this.shape.device, state, reason });
  }
}

const ownershipsOf = (scene: Scene) => new Map(scene.ifbs.map((own) => [own.device.name, own.ownership]));
