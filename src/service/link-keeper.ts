import { checkLink, hookRemoval, inspect, isRedirected, namesOf, runOperations, type Scene } from '../apply/index.ts';
import { type LinkItem, type NetDevice, runCommand } from '../kernel/index.ts';
import { type Command, HeadgateError } from '../model/index.ts';
import type { LinkEvent, LinkState } from '../monitor/index.ts';
import {
  type Datapath,
  hooksOf,
  type LinkShape,
  type LinkSite,
  linkOperations,
  parseAlias,
  removeIfb,
  removeUpload,
  rootMajor,
  UPLOAD_MAJOR,
} from '../shape/index.ts';

const IFF_UP = 1;

/** A device by what stays with it: a name can change or go to another. */
interface Known {
  readonly index: number;
  readonly name: string;
}

/** An ifb that arriving packets go to, the link's own or that of the link whose tree is shared. */
interface KnownIfb extends Known {
  readonly up: boolean;
  /** False from its making until it is first told to be up: what is told before is history. */
  readonly seenUp: boolean;
}

/**
 * Keeps one link's part of the kernel right while devices come, go and change their names under it. Whenever an ifb
 * is in doubt the redirect goes first: unshaped traffic is a nuisance, a redirect to nowhere an outage.
 *
 * Items must be handed in one at a time, in the order in which the kernel sent them.
 */
export class LinkKeeper {
  #shape: LinkShape;
  #datapath: Datapath;
  readonly #emit: (event: LinkEvent) => void;
  #state: LinkState = 'absent';
  #site: LinkSite | undefined;
  #device: Known | undefined;
  /** Those of the shape, in its order, unless one was deleted. */
  #ifbs: readonly KnownIfb[] = [];

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

  /**
   * Builds the link's part, or nothing.
   *
   * @throws HeadgateError as checkLink does, and HG_KERNEL
   */
  async add(): Promise<void> {
    const { device, shares, ifbs } = this.shape;
    const scene = await inspect();
    checkLink(this.shape, scene, this.#datapath);
    const there = new Map(scene.ifbs.map((own) => [own.device.name, own.ownership]));
    const missing = shares === undefined ? undefined : ifbs.find(({ name }) => !there.has(name));
    if (missing) throw new HeadgateError('HG_NO_DEVICE', { device: missing.name, devices: namesOf(scene) });
    const site = { ingressHook: scene.hooks.has(device), ifbs: there };
    await runOperations(linkOperations(this.shape, site, this.#datapath));
    const after = await inspect();
    this.#ifbs = ifbs.flatMap(({ name }) => {
      const ifb = known(after.devices, name);
      return ifb ? [{ ...ifb, up: true, seenUp: false }] : [];
    });
    this.#device = known(after.devices, device);
    this.#site = site;
    if (!this.#device) {
      await this.#leave(device);
      throw new HeadgateError('HG_NO_DEVICE', { device, devices: namesOf(after) });
    }
    this.#state = this.#built;
  }

  /** Takes over the link's part, which is there, whole. @throws HeadgateError HG_NO_DEVICE */
  async adopt(): Promise<void> {
    const { device, ifbs } = this.shape;
    const scene = await inspect();
    const there = [device, ...ifbs.map(({ name }) => name)];
    const missing = there.find((name) => !known(scene.devices, name));
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
    if (!this.#device) return;
    this.#look(was, scene);
    if (this.#state !== state) this.#change(this.#state, 'the policy was changed');
  }

  #look(was: Scene, scene: Scene): void {
    const { device, ifbs } = this.shape;
    this.#ifbs = ifbs.flatMap(({ name }) => {
      const ifb = known(scene.devices, name);
      if (!ifb) return [];
      const seenUp = was.devices.some(({ index }) => index === ifb.index);
      return [this.#ifbs.find(({ index }) => index === ifb.index) ?? { ...ifb, up: true, seenUp }];
    });
    const named = new Map(scene.ifbs.map((own) => [own.device.name, own.ownership]));
    const hooks = [...named.values()].flatMap(hooksOf);
    this.#site = { ingressHook: !hooks.some((hook) => hook.device === device && hook.clsact), ifbs: named };
    this.#state = ifbs.length > 0 && !isRedirected(scene, device) ? 'open' : this.#built;
  }

  get #hasIfbs(): boolean {
    return this.#ifbs.length === this.shape.ifbs.length;
  }

  /** What the link does when all is well. */
  get #built(): LinkState {
    return this.shape.ifbs.length === 0 && !this.shape.upload ? 'watching' : 'steering';
  }

  async follow(item: LinkItem): Promise<void> {
    // After a loss the kernel tells everything as it is now.
    if (item.kind === 'restart') this.#ifbs = this.#ifbs.map((ifb) => ({ ...ifb, seenUp: true }));
    if (item.kind === 'link') await this.#followLink(item.ifindex, item.name, (item.flags & IFF_UP) !== 0);
    else if (item.kind === 'linkGone') {
      const ifb = this.#ifbs.find(({ index }) => index === item.ifindex);
      if (ifb) await this.#ifbGone(ifb);
      else if (item.ifindex === this.#device?.index) await this.#deviceGone(`${this.shape.device} is gone`);
    }
  }

  async #followLink(index: number, name: string, up: boolean): Promise<void> {
    const ifb = this.#ifbs.find((known) => known.index === index);
    if (ifb) {
      // Before it was seen up, what is told is history.
      const now = { ...ifb, name, up: up || !ifb.seenUp, seenUp: ifb.seenUp || up };
      this.#ifbs = this.#ifbs.map((known) => (known === ifb ? now : known));
      await this.#followIfb(now);
    } else if (index === this.#device?.index) {
      const was = this.#device.name;
      this.#device = { index, name };
      if (name !== was) await this.#deviceGone(`${was} is called ${name} now`);
    } else if (name === this.shape.device && this.#state === 'absent') await this.#deviceCame();
  }

  async #followIfb({ name, up }: KnownIfb): Promise<void> {
    const { device, ifbs } = this.shape;
    if (!up && this.#state === 'steering') {
      await this.#open(`${name} was set down; arriving packets pass unshaped`);
    } else if (this.#state === 'open' && this.#hasIfbs && this.#ifbs.every((ifb) => ifb.up)) {
      const now = ifbs.map((ifb, i) => ({ ...ifb, name: this.#ifbs[i]!.name }));
      await runOperations([this.#datapath.redirect(device, now)]);
      this.#change('steering', `${name} is up again`);
    }
  }

  async #ifbGone(gone: KnownIfb): Promise<void> {
    const { name } = gone;
    this.#ifbs = this.#ifbs.filter((ifb) => ifb !== gone);
    await this.#open(`${name} was deleted; arriving packets pass unshaped: stop headgate and start it again`);
    // With the ifb went its alias, which said that the hook is ours.
    await this.#removeHook(this.shape.device);
  }

  /** Lets arriving packets pass. What cannot be removed is said: traffic hangs on it. */
  async #open(reason: string): Promise<void> {
    const { device } = this.shape;
    const failure = await tryCommand(this.#datapath.unredirect(device, this.shape));
    const left = failure && isRedirected(await inspect(), device);
    this.#change('open', left ? `the redirect of ${device} could not be removed: ${failure.message}` : reason);
  }

  async #deviceGone(reason: string): Promise<void> {
    const name = this.#device?.name ?? this.shape.device;
    this.#device = undefined;
    await this.#leave(name);
    this.#change('absent', `${reason}; waiting for a device ${this.shape.device}`);
  }

  async #deviceCame(): Promise<void> {
    try {
      await this.add();
      this.#change(this.#built, `${this.shape.device} is back`);
    } catch (error) {
      // The next news of a device of that name is the next try.
      this.#change('absent', `${this.shape.device} is back, but: ${error instanceof Error ? error.message : error}`);
    }
  }

  /** Takes the link's part from the device that has this name now, filter first; what went with it is no failure. */
  async #leave(device: string): Promise<void> {
    if (this.shape.ifbs.length > 0) {
      await tryCommand(this.#datapath.unredirect(device, this.shape));
      await this.#removeHook(device);
    }
    if (this.shape.upload) await tryCommand(removeUpload(device, rootMajor(this.shape.upload, UPLOAD_MAJOR)));
    const made = this.#ifbs.map(({ index }) => index);
    this.#ifbs = [];
    // Others may use shared ones still.
    if (made.length === 0 || this.shape.shares !== undefined || this.shape.sharedBy.length > 0) return;
    const ours = (await inspect()).devices.filter((d) => made.includes(d.index) && parseAlias(d.alias));
    for (const { name } of ours) await tryCommand(removeIfb(name));
  }

  async #removeHook(device: string): Promise<void> {
    const removal = this.#site?.ingressHook ? undefined : hookRemoval(await inspect(), device);
    if (removal) await tryCommand(removal.command);
  }

  #change(state: LinkState, reason: string): void {
    this.#state = state;
    this.#emit({ kind: 'link', name: this.shape.link, device: this.shape.device, state, reason });
  }
}

const known = (devices: readonly NetDevice[], name: string): Known | undefined => {
  const device = devices.find((d) => d.name === name);
  return device && { index: device.index, name };
};

/** Runs a removal; returns why it failed. */
const tryCommand = (command: Command): Promise<Error | undefined> =>
  runCommand(command).then(
    () => undefined,
    (error: Error) => error,
  );
