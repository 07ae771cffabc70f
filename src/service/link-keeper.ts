import { checkLink, hookRemoval, inspect, namesOf, runOperations } from '../apply/index.ts';
import { type LinkItem, runCommand } from '../kernel/index.ts';
import { HeadgateError } from '../model/index.ts';
import type { LinkEvent, LinkState } from '../monitor/index.ts';
import {
  ifbOf,
  type LinkShape,
  type LinkSite,
  linkOperations,
  redirectOperation,
  removeIfb,
  removeRedirect,
} from '../shape/index.ts';

const IFF_UP = 1;

/**
 * Keeps one link's part of the kernel right while devices come and go under it. Whenever the ifb is in doubt the
 * redirect goes first: unshaped traffic is a nuisance, a redirect to nowhere an outage.
 *
 * Items must be handed in one at a time, in the order in which the kernel sent them.
 */
export class LinkKeeper {
  readonly shape: LinkShape;
  readonly #ifb: string | undefined;
  readonly #objects: Omit<LinkSite, 'ingressHook'>;
  readonly #emit: (event: LinkEvent) => void;
  #state: LinkState = 'absent';
  #site: LinkSite | undefined;
  #deviceIndex = 0;
  #ifbIndex = 0;
  /** False from the making of the ifb until it is first told to be up: what is told before is history. */
  #ifbSeenUp = false;

  constructor(shape: LinkShape, objects: Omit<LinkSite, 'ingressHook'>, emit: (event: LinkEvent) => void) {
    this.shape = shape;
    this.#ifb = ifbOf(shape);
    this.#objects = objects;
    this.#emit = emit;
  }

  get state(): LinkState {
    return this.#state;
  }

  /** Index of the device now, 0 while it is absent. */
  get deviceIndex(): number {
    return this.#deviceIndex;
  }

  /**
   * Builds the link's part, or nothing.
   *
   * @throws HeadgateError as checkLink does, and HG_KERNEL
   */
  async add(): Promise<void> {
    const scene = await inspect();
    checkLink(this.shape, scene);
    const ifb = scene.ifbs.find(({ device }) => device.name === this.#ifb)?.ownership;
    if (this.shape.shares !== undefined && !ifb)
      throw new HeadgateError('HG_NO_DEVICE', { device: this.#ifb!, devices: namesOf(scene) });
    const site = { ...this.#objects, ingressHook: scene.hooks.has(this.shape.device), ifb };
    await runOperations(linkOperations(this.shape, site));
    const devices = (await inspect()).devices;
    this.#deviceIndex = devices.find((d) => d.name === this.shape.device)?.index ?? 0;
    this.#ifbIndex = devices.find((d) => d.name === this.#ifb)?.index ?? 0;
    this.#ifbSeenUp = false;
    this.#site = site;
    this.#state = this.#built;
  }

  /** What the link does when all is well. */
  get #built(): LinkState {
    return this.#ifb === undefined && !this.shape.upload ? 'watching' : 'steering';
  }

  async follow(item: LinkItem): Promise<void> {
    // After a loss the kernel tells everything as it is now.
    if (item.kind === 'restart') this.#ifbSeenUp = true;
    if (item.kind === 'link') {
      if (item.ifindex === this.#ifbIndex) await this.#followIfb((item.flags & IFF_UP) !== 0);
      else if (this.#state === 'absent' && item.name === this.shape.device) await this.#deviceCame();
    } else if (item.kind === 'linkGone') {
      if (item.ifindex === this.#ifbIndex) await this.#ifbGone();
      else if (item.ifindex === this.#deviceIndex && this.#state !== 'absent') await this.#deviceGone();
    }
  }

  async #followIfb(up: boolean): Promise<void> {
    this.#ifbSeenUp ||= up;
    if (!up && this.#ifbSeenUp && this.#state === 'steering') {
      await this.#open(`${this.#ifb} was set down; arriving packets pass unshaped`);
    } else if (up && this.#state === 'open' && this.#site && this.#ifb !== undefined) {
      await runOperations([redirectOperation(this.shape.device, this.#ifb, this.#site)]);
      this.#change('steering', `${this.#ifb} is up again`);
    }
  }

  async #ifbGone(): Promise<void> {
    this.#ifbIndex = 0;
    await this.#open(`${this.#ifb} was deleted; arriving packets pass unshaped until headgate up runs again`);
    // With the ifb went its alias, which said that the hook is ours.
    const hook = this.#site?.ingressHook ? undefined : hookRemoval(await inspect(), this.shape.device);
    if (hook) await runCommand(hook.command).catch(() => {});
  }

  async #open(reason: string): Promise<void> {
    await runCommand(removeRedirect(this.shape.device)).catch(() => {});
    this.#change('open', reason);
  }

  async #deviceGone(): Promise<void> {
    // Its filters and its root qdisc went with it; what is left is the ifb, which others may use.
    this.#deviceIndex = 0;
    this.#ifbIndex = 0;
    const shared = this.shape.shares !== undefined || this.shape.sharedBy.length > 0;
    if (this.#ifb !== undefined && !shared) await runCommand(removeIfb(this.#ifb)).catch(() => {});
    this.#change('absent', `${this.shape.device} is gone; waiting for it`);
  }

  async #deviceCame(): Promise<void> {
    try {
      await this.add();
      this.#change(this.#built, `${this.shape.device} is back`);
    } catch (error) {
      this.#change('open', `${this.shape.device} is back, but: ${error instanceof Error ? error.message : error}`);
    }
  }

  #change(state: LinkState, reason: string): void {
    this.#state = state;
    this.#emit({ kind: 'link', name: this.shape.link, device: this.shape.device, state, reason });
  }
}
