import { ROOT_LOSS, removeIfb } from './link.ts';
import { formatFormerAlias, formerName } from './names.ts';
import type { Operation } from './operation.ts';
import { addRoot, describeRoot, type RootQdisc } from './root-qdisc.ts';
import { batch, tc } from './tc-batch.ts';

/**
 * Makes room for a tree at a device's root. First a copy is made on an ifb of its own, which nothing leads to: it shows that
 * the kernel makes the same of the words, and keeps them in the kernel until the root is put back.
 *
 * @param index the device's: its name may become another's
 */
export function replaceRoot(device: string, index: number, root: RootQdisc): Operation[] {
  const ifb = formerName(device);
  return [
    {
      about: `add ifb ${ifb}, to keep the root qdisc of ${device}`,
      command: batch('ip', [
        ['link', 'add', 'name', ifb, 'type', 'ifb'],
        ['link', 'set', 'dev', ifb, 'alias', `"${formatFormerAlias(index)}"`],
      ]),
      undo: removeIfb(ifb),
    },
    {
      about: `copy ${describeRoot(root)} of ${device} to ${ifb}`,
      command: addRoot(ifb, root),
      root: { device: ifb, root },
    },
    {
      about: `take the root qdisc ${describeRoot(root)} from ${device}`,
      touches: ROOT_LOSS,
      command: tc('qdisc', 'del', 'dev', device, 'root', 'handle', root.handle),
      undo: addRoot(device, root),
    },
  ];
}
