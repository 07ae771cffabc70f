import { randomBytes } from 'node:crypto';
import { merge } from 'rxjs';
import {
  checkEffects,
  checkLink,
  checkMap,
  checkTable,
  inspect,
  passedBy,
  runOperations,
  teardown,
} from '../apply/index.ts';
import { factSources } from '../facts/index.ts';
import { acquireInstance, delFiles, ensureRoot, Journal, replaceApplied } from '../kernel/index.ts';
import { linkEvents, tableEvents } from '../kernel/sources.ts';
import type { ParsedPolicy, Policy } from '../language/index.ts';
import { type Capabilities, formatMark, HeadgateError, type Loopback } from '../model/index.ts';
import type { MonitorItem, QueueFigures } from '../monitor/index.ts';
import { MonitorStream } from '../monitor/stream.ts';
import { Sides } from '../pipeline/index.ts';
import {
  type ChangedTree,
  classOf,
  type Datapath,
  type DatapathName,
  effectOperations,
  formatDetail,
  type IfbShape,
  type LinkShape,
  nameBeside,
  numberedQueues,
  type Operation,
  qdiscsOf,
  tableOperation,
} from '../shape/index.ts';
import { listAnswers } from './answers.ts';
import { type Wanted, writeApplied } from './applied.ts';
import { getServicePid } from './ask.ts';
import { Closers } from './closers.ts';
import { Confirmation } from './confirmation.ts';
import { serveControl } from './control.ts';
import { bestDatapath, prepareDatapath } from './datapath.ts';
import { Deadline } from './deadline.ts';
import { explainThose, type IsMeant, meantByEnd, meantByFlow } from './explain-live.ts';
import { finish } from './finish.ts';
import { Following } from './following.ts';
import { getPolicyView } from './get-policy.ts';
import { getStatus } from './get-status.ts';
import { keepFollowing } from './keep-following.ts';
import { LinkKeeper } from './link-keeper.ts';
import { LinkWatch } from './link-watch.ts';
import { listClassifiers } from './list-classifiers.ts';
import { listFlows, needsRates, readQuery } from './list-flows.ts';
import { MadeTrees } from './made-trees.ts';
import { chooseMarksHere, warnOfMarksHere, whyNotMarks } from './marks.ts';
import { listMetrics } from './metrics.ts';
import { clearField, recover, takeDown } from './recover.ts';
import { changeKernel, type LoadPolicy, type ReloadResult, reloadPolicy } from './reload.ts';
import { findInForce, getPolicyBefore, isSamePolicy } from './resume.ts';
import { openWeb } from './serve-web.ts';
import { shapeHere } from './shape-here.ts';
import { shareRunning } from './share-running.ts';
import type { ServiceStatus } from './status.ts';
import { TableKeeper } from './table-keeper.ts';
import { withCapabilities } from './with-capabilities.ts';

/** Headgate at work: the kernel's objects are in place, flows are being decided. */
export interface Service {
  /** Reads the policy anew and puts it in the running one's place; one with mistakes changes nothing. Never rejects. */
  reload(): Promise<ReloadResult>;
  /** Resolves when what was started was not confirmed in time; then it is to be stopped. Never, where nobody asked for that. */
  readonly unconfirmed: Promise<void>;
  /** Resolves when everything has had its turn: whether it all still follows the kernel. */
  isAlive(): Promise<boolean>;
  /** Address of the web page, with its key; absent: there is none. */
  readonly web?: string | undefined;
  /** Ends it. Unless `keep`, nothing of ours is left in the kernel: filters go first, our bits of the marks last. */
  stop(options: { readonly keep: boolean }): Promise<void>;
}

export interface ServiceOptions {
  /** How packets find their class; absent: the best way that works on this kernel. */
  readonly datapath?: DatapathName | undefined;
  /** Ms in which it has to be confirmed; absent: it need not be. At most MOST_CONFIRM_MS. */
  readonly confirm?: number | undefined;
  /** Of `bpf` and `map`: ms from when the service was last heard of, after which packets pass untouched; absent: never. */
  readonly deadline?: number | undefined;
  /** Where the web page is served; absent: nowhere. */
  readonly web?: Loopback | undefined;
  /** The files of the first policy, for who looks at it. */
  readonly texts?: ParsedPolicy['texts'] | undefined;
}

/**
 * Applies a policy and starts classifying. What an earlier, killed run left is taken down first.
 * When it rejects, nothing of ours is in the kernel, and nothing of anybody else's has changed.
 *
 * @param load reads the policy anew for a reload
 * @param onItem gets every item of the event stream from `ready` on, but for those of flows
 * @throws HeadgateError with the exit codes 2 to 5
 */
export async function startService(
  first: Policy,
  load: LoadPolicy,
  onItem: (item: MonitorItem) => void,
  options: ServiceOptions = {},
): Promise<Service> {
  ensureRoot('making qdiscs and devices');
  return withCapabilities((capabilities) => startWith(capabilities, first, load, onItem, options));
}

async function startWith(
  capabilities: Capabilities,
  first: Policy,
  load: LoadPolicy,
  onItem: (item: MonitorItem) => void,
  options: ServiceOptions,
): Promise<Service> {
  let policy = first;
  const texts = new WeakMap<Policy, ParsedPolicy['texts']>();
  if (options.texts) texts.set(first, options.texts);
  let shapes = await shapeHere(policy, qdiscsOf(capabilities));
  const name = options.datapath ?? bestDatapath(capabilities, shapes);
  const opened = new Closers();
  let keep = false;
  try {
    const leave = await acquireInstance();
    if (!leave) throw new HeadgateError('HG_RUNNING', { pid: (await getServicePid()) ?? 'unknown' });
    opened.add(leave);
    // A port that is taken is said before anything is touched.
    const web = options.web && (await openWeb(options.web));
    opened.add(() => web?.close());
    const { done: recovered, scene } = await recover();
    const before = await getPolicyBefore(policy);
    const unconfirmed = before && policy;
    if (before) {
      policy = before;
      shapes = await shapeHere(policy, qdiscsOf(capabilities));
    }
    const effects = effectOperations(policy, shapes);
    checkTable(scene);
    checkEffects(policy, scene, capabilities);
    const { field, warnings } = await chooseMarksHere(policy, name, scene.field);

    const stream = new MonitorStream(randomBytes(4).toString('hex'));
    stream.notices.subscribe(onItem);
    const { warn } = stream;
    opened.add(() => (keep ? undefined : delFiles()));
    const found = await findInForce({ datapath: name, field }, scene, capabilities);
    const inForce = typeof found === 'string' ? undefined : found;
    if (!inForce) await delFiles();
    const same = inForce !== undefined && isSamePolicy(inForce.policy, policy);
    if (inForce) shapes = same ? [...inForce.shapes] : nameBeside(inForce.shapes, shapes);
    let generation = inForce ? inForce.generation + (same ? 0 : 1) : 0;
    const prepare = (of: Policy, number: number) => prepareDatapath(name, of, field, number, capabilities);
    let prepared = same ? inForce.prepared : await prepare(policy, generation);
    const { datapath } = prepared;
    if (datapath.map) checkMap(scene);
    for (const shape of shapes) checkLink(shape, scene, datapath);

    opened.add(() => (keep ? undefined : takeDown(field)));
    const journal = await Journal.begin(inForce ? { kind: 'reload', applied: writeApplied(inForce) } : { kind: 'up' });
    if (!inForce) {
      await teardown();
      // What is in the same bits, the classifier puts right.
      if (scene.field && scene.field.mask !== field.mask) await clearField(scene.field);
      // From here on the kernel tracks connections in this namespace, and has the functions that the classifier calls.
      await runOperations([tableOperation(policy, shapes, datapath), ...effects], { journal });
    }

    const keeperOf = (shape: LinkShape, by: Datapath) => new LinkKeeper(shape, by, (event) => stream.emit(event));
    let keepers: readonly LinkKeeper[] = (inForce?.shapes ?? shapes).map((shape) =>
      keeperOf(shape, inForce?.prepared.datapath ?? datapath),
    );
    const sides = new Sides((ifindex) => keepers.some((keeper) => keeper.deviceIndex === ifindex));
    /** Sockets that are broken now. */
    const broken = new Set<string>();
    const kept = <T>(what: string, follow: Parameters<typeof keepFollowing<T>>[0]) =>
      keepFollowing(
        follow,
        (error) => {
          broken.add(what);
          warn(`the watch on ${what} broke; opening it again`)(error);
        },
        () => {
          if (broken.delete(what)) watch.doubt();
        },
      );
    const watch: LinkWatch = await LinkWatch.open(
      merge(kept('links', linkEvents), kept('tables', tableEvents)),
      sides,
      warn('the watch on links'),
    );
    opened.add(() => watch.close());
    for (const keeper of keepers) await watch.add(keeper, inForce ? 'as it is' : 'anew');
    const made = new MadeTrees();
    await made.remember(inForce?.shapes ?? shapes);
    const shapesNow = () => keepers.map(({ shape }) => shape);
    const deadline =
      name === 'bpf' || datapath.passAfter
        ? new Deadline(options.deadline, datapath, watch, shapesNow, warn('the deadline'))
        : undefined;
    const changeLinks = async (from: Wanted, to: Wanted, journal: Journal): Promise<readonly Operation[]> => {
      const add = (shape: LinkShape, ...looks: Parameters<LinkKeeper['begin']>) => {
        const keeper = keeperOf(shape, to.datapath);
        keeper.begin(...looks);
        return keeper;
      };
      const odd = await made.listChanged(from.shapes);
      const changed = await changeKernel(from, to, odd, keepers, add, capabilities, journal);
      ({ keepers } = changed);
      watch.replace(keepers);
      // From here on the new policy is in force, whatever fails.
      await made.remember(to.shapes).catch(warn('what the trees are like'));
      await deadline?.renew();
      for (const tree of odd) stream.emit({ kind: 'warning', message: sayPutBack(tree) });
      return changed.after;
    };
    const hurry = new AbortController();
    let finishing: Promise<void> = Promise.resolve();
    opened.add(() => {
      hurry.abort();
      return finishing;
    });
    /** There is no way back any more. */
    const finishWith = (after: readonly Operation[], journal: Journal, old: readonly string[]): Promise<void> => {
      finishing = finish(after, journal, (about, error) => warn(about)(error), hurry.signal).then(() => delFiles(old));
      return finishing;
    };
    let rest: readonly Operation[] = [];
    if (inForce && !same) {
      const from = { policy: inForce.policy, shapes: inForce.shapes, datapath: inForce.prepared.datapath };
      rest = await watch.exclusively(() => changeLinks(from, { policy, shapes, datapath }, journal));
    }
    const stopKeeping = await deadline?.keep(stream.notices);
    opened.add(() => stopKeeping?.());
    await replaceApplied(writeApplied({ policy, datapath: name, generation, unconfirmed }));
    // Until then whoever finds the journal takes it back.
    const oldFiles = inForce?.prepared.files.filter((path) => !prepared.files.includes(path)) ?? [];
    const settleStart = () => finishWith(rest, journal, oldFiles);
    if (options.confirm === undefined) void settleStart();

    const sources = factSources(sides);
    const following = new Following(stream, sides, { policy, shapes, datapath }, sources, inForce !== undefined);
    opened.add(() => following.close());
    const tables = new TableKeeper(
      (event) => stream.emit(event),
      () => following.refill(),
    );
    await watch.exclusively(() => tables.become({ policy, shapes, datapath }));
    watch.keep(tables);

    const status = (): ServiceStatus => ({
      pid: process.pid,
      policy: policy.file,
      datapath: datapath.name,
      marks: formatMark(field.mask),
      links: keepers.map(({ shape, state }) => ({
        name: shape.link,
        device: shape.device,
        state,
        ifbs: shape.ifbs.map((ifb) => ifb.name),
        upload: shape.upload !== undefined,
      })),
      queues: numberedQueues(policy).map(({ queue, number }) => ({ name: queue.name, number })),
      ...following.status,
      facts: sources.flatMap(({ word, counts, blind }) => {
        const its = counts();
        return Object.keys(its).length === 0 ? [] : [{ word, counts: its, blind }];
      }),
      confirm: confirmation.waiting,
      deadline: deadline?.status,
    });
    const confirmation = new Confirmation((event) => stream.emit(event));
    opened.add(() => confirmation.close());
    /** Returns what is left to do when there is no way back any more. */
    const change = async (next: Policy, tried: Trial = {}): Promise<() => Promise<void>> => {
      // What waited to be confirmed may have come to its end meanwhile.
      await finishing;
      const reason = stopping ? 'headgate is being stopped' : whyNotMarks(next, field);
      if (reason !== undefined) throw new HeadgateError('HG_RELOAD', { reason });
      const nextShapes = await shapeHere(next, qdiscsOf(capabilities));
      const made = await prepare(next, generation + 1);
      const from = { policy, shapes, datapath: prepared.datapath };
      const to = { policy: next, shapes: nameBeside(shapes, nextShapes), datapath: made.datapath };
      const before = { policy, datapath: name, generation, unconfirmed: tried.unconfirmed };
      const delMade = async (error: unknown): Promise<never> => {
        await delFiles(made.files.filter((path) => !prepared.files.includes(path)));
        throw error;
      };
      const journal = await Journal.begin({ kind: 'reload', applied: writeApplied(before) }).catch(delMade);
      const after = await changeLinks(from, to, journal).catch(async (error) => {
        await journal.end();
        return delMade(error);
      });
      const old = prepared.files.filter((path) => !made.files.includes(path));
      ({ policy, shapes } = to);
      prepared = made;
      generation++;
      const record = { policy, datapath: name, generation, unconfirmed: tried.refused };
      await replaceApplied(writeApplied(record)).catch(warn('the record'));
      try {
        following.replace({ policy, shapes, datapath: made.datapath });
      } catch (error) {
        warn('the flows')(error);
      }
      await tables.become({ policy, shapes, datapath: made.datapath }).catch(warn('the tables'));
      return () => finishWith(after, journal, old);
    };
    let changed: Promise<unknown> = Promise.resolve();
    let stopping = false;
    /** What was left alone, because somebody took it away again and again, is put back once more. */
    const beginAnew = async (): Promise<void> => {
      const scene = await inspect();
      for (const keeper of keepers) keeper.become(keeper.shape, prepared.datapath, scene, scene);
      tables.begin();
    };
    /** One change after the other, each to its end, on what was made whole and looked at again; while one waits for queues to run empty, links are watched all the same. */
    const changing = <T>(task: () => Promise<T>): Promise<T> => {
      const doing = changed
        .then(() => finishing)
        .then(() => watch.exclusively(beginAnew).catch(warn('a look at what is there')))
        .then(() => watch.wholly(task))
        .finally(() => finishing)
        .finally(() => watch.wholly(async () => {}));
      changed = doing.catch(() => {});
      return doing;
    };
    const takeBack = (before: Policy, tried: Policy): Promise<void> =>
      changing(async () => {
        if (policy !== tried) return;
        const settle = await change(before, { refused: policy });
        void settle();
        const reason = 'is what ran before, and is in force again';
        stream.emit({ kind: 'policy', state: 'changed', file: before.file, reason, queues: figuresOf(policy) });
      }).catch(warn('the policy that ran before could not be put back'));
    const loadWithTexts = async (): Promise<ParsedPolicy> => {
      const parsed = await load();
      if (parsed.policy) texts.set(parsed.policy, parsed.texts);
      return parsed;
    };
    const reload = (confirm?: number): Promise<ReloadResult> =>
      changing(async () => {
        const { file } = policy;
        const before = policy;
        let settle = async () => {};
        stream.emit({ kind: 'policy', state: 'reading', file, reason: 'is being read anew' });
        const result = await reloadPolicy(file, loadWithTexts, async (next) => {
          const { waiting } = confirmation;
          if (waiting) throw new HeadgateError('HG_CONFIRM_FIRST', { until: waiting.until });
          settle = await change(next, confirm === undefined ? {} : { unconfirmed: next });
        });
        if (confirm === undefined || 'error' in result) void settle();
        else {
          const tried = policy;
          Object.assign(result, {
            confirm: confirmation.begin('reload', confirm, {
              settle,
              // The way back is a change like any other: it begins where this one has come to its end.
              takeBack: () => {
                void settle();
                void takeBack(before, tried);
              },
            }),
          });
        }
        if ('error' in result) stream.emit({ kind: 'policy', state: 'kept', file, reason: result.error.message });
        else {
          const reason = 'was read anew, and is in force';
          stream.emit({ kind: 'policy', state: 'changed', file, reason, queues: figuresOf(policy) });
          advise();
          for (const message of await warnOfMarksHere(policy, name, field)) stream.emit({ kind: 'warning', message });
        }
        return result;
      }).then((result) => {
        const open = keepers.flatMap(({ shape, state }) => (state === 'open' ? [shape.link] : []));
        return 'error' in result || open.length === 0 ? result : { ...result, open };
      });
    const classifiers = shareRunning(() => listClassifiers(shapesNow(), datapath));
    const explain = async (text: string, isMeant: IsMeant) => {
      const filters = await classifiers();
      return following.withFlows((...known) => explainThose(text, isMeant, { policy, filters }, ...known));
    };
    const answers = listAnswers({
      status: () => getStatus(status()),
      service: status,
      policy: () => getPolicyView(policy, texts.get(policy), following.tally),
      explain: (text) => explain(text, meantByFlow(text, policy)),
      why: (end) => explain(end, meantByEnd(end)),
      flows: (parameters) => {
        const query = readQuery(parameters, policy);
        return following.withCounters(needsRates(query), (...known) => listFlows(query, policy, ...known));
      },
      stream,
      metrics: (now) => listMetrics(now, following.tally, stream.counts),
    });
    const control = await serveControl(answers, {
      reload,
      confirm: async () => {
        const confirmed = await confirmation.confirm();
        if (!confirmed) throw new HeadgateError('HG_CONFIRM');
        return confirmed;
      },
      web: () => {
        if (!web) throw new HeadgateError('HG_NO_WEB');
        return { url: web.url, tokenFile: web.tokenFile };
      },
    });
    web?.serve(answers);
    if (control.problem) warn('the group headgate cannot read from the control socket')(control.problem);
    opened.add(() => {
      stream.complete();
      web?.serve(undefined);
      return control.close();
    });
    // What is being changed comes to its end before anything goes, and no other change begins.
    opened.add(async () => {
      stopping = true;
      hurry.abort();
      confirmation.close();
      await changed;
    });

    await finishing;
    stream.emit({
      kind: 'ready',
      datapath: datapath.name,
      marks: formatMark(field.mask),
      links: shapes.map(({ link, device, ifbs, upload, shares }) => ({
        name: link,
        device,
        download: shares === undefined ? rateOf(ifbs) : undefined,
        upload: upload?.rate,
        ...(shares !== undefined && { shares }),
      })),
      queues: figuresOf(policy),
    });
    if (unconfirmed) {
      const message = `${unconfirmed.file} was not confirmed: what ran before is in force (headgate reload takes it)`;
      stream.emit({ kind: 'warning', message });
    }
    if (recovered.length > 0) stream.emit({ kind: 'warning', message: recovered.join('; ') });
    for (const shape of shapes)
      for (const chain of passedBy(shape, scene, datapath))
        stream.emit({
          kind: 'warning',
          message: `link ${shape.link}: what arrives on ${shape.device} passes by ${chain}, as bypass netdev-ingress allows`,
        });
    const advise = () => {
      for (const message of advice(shapes)) stream.emit({ kind: 'warning', message });
    };
    advise();
    for (const message of warnings) stream.emit({ kind: 'warning', message });
    if (typeof found === 'string' && scene.table === 'ours')
      stream.emit({ kind: 'warning', message: `what an earlier run has left was built anew: ${found}` });
    const { confirm } = options;
    const expired = new Promise<void>((resolve) => {
      if (confirm !== undefined) confirmation.begin('up', confirm, { settle: settleStart, takeBack: resolve });
    });
    return {
      reload,
      unconfirmed: expired,
      ...(web && { web: web.url }),
      isAlive: () => watch.exclusively(async () => following.alive && broken.size === 0 && watch.listening),
      stop: (options) => {
        keep = options.keep;
        return opened.close();
      },
    };
  } catch (error) {
    await opened.close().catch(() => {});
    throw error;
  }
}

const sayPutBack = ({ place, details }: ChangedTree): string =>
  `somebody had changed the tree on ${place.device}, it is put back: ${details.map(formatDetail).join('; ')}`;

/** A policy that has to be confirmed, or one that was not. */
interface Trial {
  readonly unconfirmed?: Policy | undefined;
  readonly refused?: Policy | undefined;
}

const figuresOf = (policy: Policy): QueueFigures[] =>
  policy.queues.map(({ name, share, ceiling }) => ({ name, number: classOf(policy, name), share, ceiling }));

/** What a link's ifbs let through together, bit/s. */
const rateOf = (ifbs: readonly IfbShape[]): number | undefined =>
  ifbs.length === 0 ? undefined : ifbs.reduce((sum, { tree }) => sum + tree.rate, 0);

/** What the person should know of a policy that runs as it is. */
function advice(shapes: readonly LinkShape[]): string[] {
  const still = shapes.filter((shape) => shape.ifbs.length === 0 && !shape.upload).map(({ link }) => link);
  return [
    ...still.map(
      (link) =>
        `link ${link} has no rate, so nothing is shaped (--download, --upload); headgate events shows its flows`,
    ),
  ];
}
