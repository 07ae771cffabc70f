// A link's keeper by itself, for device `wan` with datapath bpf, and what the kernel tells of its ifb when this says so, not when
// the kernel does: `keeper-orders.mjs ORDER` prints, as JSON, what the keeper said and whether what arrives passed by.

import { inspect, isRedirected, runOperations } from '../../dist/apply/index.js';
import { delFiles, listDevices, run } from '../../dist/kernel/index.js';
import { parsePolicy } from '../../dist/language/index.js';
import { prepareDatapath, shapeHere } from '../../dist/service/index.js';
import { LinkKeeper } from '../../dist/service/link-keeper.js';
import { chooseMarksHere } from '../../dist/service/marks.js';
import { tableOperation } from '../../dist/shape/index.js';

const text =
  'link wan { device wan  download 50mbit }\nqueue q { share 50% }\ndefault local -> q  remote -> q  new -> q\n';
const { policy } = parsePolicy(text, 'order.gate');
const shapes = await shapeHere(policy, new Set());
const { field } = await chooseMarksHere(policy, 'bpf', await inspect());
const { datapath } = await prepareDatapath('bpf', policy, field, 0, new Map());
await runOperations([tableOperation(policy, shapes, datapath)]);

const said = [];
const keeper = new LinkKeeper(shapes[0], datapath, ({ state, reason }) => said.push(`${state}: ${reason}`));
await keeper.add();
const { index: ifindex } = (await listDevices()).find(({ name }) => name === 'hg-wan');
const link = (flags) => ({ kind: 'link', ifindex, name: 'hg-wan', flags });
const isOpen = async () => !isRedirected(await inspect(), 'wan');
keeper.alarm(link(1));
await keeper.follow(link(1));

/** Each returns whether packets passed between the look and what was told. */
const ORDERS = {
  async 'down after the look'() {
    const scene = await inspect();
    await run(['ip', 'link', 'set', 'hg-wan', 'down']);
    const item = link(0);
    keeper.alarm(item);
    await keeper.settle(scene);
    const open = await isOpen();
    await keeper.follow(item);
    return open;
  },
  async 'gone before the look, told after it'() {
    await run(['ip', 'link', 'del', 'hg-wan']);
    await keeper.settle(await inspect());
    const open = await isOpen();
    const item = { kind: 'linkGone', ifindex, name: 'hg-wan' };
    keeper.alarm(item);
    await keeper.follow(item);
    return open;
  },
};
const open = await ORDERS[process.argv[2]]();
console.log(JSON.stringify({ said, open, openInTheEnd: await isOpen() }));
await delFiles();
