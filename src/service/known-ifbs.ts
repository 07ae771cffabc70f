import type { Scene } from '../apply/index.ts';
import type { NetDevice } from '../kernel/index.ts';
import type { LinkShape } from '../shape/index.ts';

/** A device by what stays with it: a name can change or go to another. */
export interface Known {
  readonly index: number;
  readonly name: string;
}

/** An ifb that arriving packets go to, the link's own or that of the link whose tree is shared. */
interface KnownIfb extends Known {
  readonly up: boolean;
  /** False from its making until it is first told to be up: what is told before is history. */
  readonly seenUp: boolean;
}

/** What the kernel has told of the ifbs of one link: those of its shape, in their order, but for those that were deleted. */
export class KnownIfbs {
  #ifbs: readonly KnownIfb[] = [];

  get indices(): readonly number[] {
    return this.#ifbs.map(({ index }) => index);
  }

  get(index: number): KnownIfb | undefined {
    return this.#ifbs.find((ifb) => ifb.index === index);
  }

  /** The shape with its ifbs as they are called now, unless one was deleted. */
  call(shape: LinkShape): LinkShape {
    if (this.#ifbs.length !== shape.ifbs.length) return shape;
    return { ...shape, ifbs: shape.ifbs.map((ifb, i) => ({ ...ifb, name: this.#ifbs[i]!.name })) };
  }

  /** Those that were just looked at; of one that is known already what was told holds. @param isOld was there before, so that nothing is history */
  look({ ifbs }: LinkShape, { devices }: Pick<Scene, 'devices'>, isOld: (index: number) => boolean): void {
    this.#ifbs = ifbs.flatMap(({ name }): KnownIfb[] => {
      const ifb = known(devices, name);
      return ifb ? [this.get(ifb.index) ?? { ...ifb, up: true, seenUp: isOld(ifb.index) }] : [];
    });
  }

  /** Their names, as a look has found them; those that are not there any more go, and are returned. */
  rename({ devices }: Scene): readonly Known[] {
    const names = new Map(devices.map(({ index, name }) => [index, name]));
    const gone = this.#ifbs.filter(({ index }) => !names.has(index));
    this.#ifbs = this.#ifbs
      .filter((ifb) => !gone.includes(ifb))
      .map((ifb) => ({ ...ifb, name: names.get(ifb.index)! }));
    return gone;
  }

  /** One is told. How it is now, and whether that is another way than before; undefined: it is none of them. */
  hear(index: number, name: string, up: boolean): { readonly up: boolean; readonly changed: boolean } | undefined {
    const was = this.get(index);
    if (!was) return undefined;
    const now = { ...was, name, up: up || !was.seenUp, seenUp: was.seenUp || up };
    this.#ifbs = this.#ifbs.map((ifb) => (ifb === was ? now : ifb));
    return { up: now.up, changed: now.up !== was.up || now.name !== was.name };
  }

  /** After a loss the kernel tells everything as it is now: nothing is history. */
  hearAnew(): void {
    this.#ifbs = this.#ifbs.map((ifb) => ({ ...ifb, seenUp: true }));
  }

  /** One was deleted. */
  del(index: number): void {
    this.#ifbs = this.#ifbs.filter((ifb) => ifb.index !== index);
  }

  clear(): void {
    this.#ifbs = [];
  }
}

/** A device by its name now. */
export const known = (devices: readonly NetDevice[], name: string): Known | undefined => {
  const device = devices.find((d) => d.name === name);
  return device && { index: device.index, name };
};
