import { retry } from 'rxjs';
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
import { acquireInstance, delFiles, ensureRoot, getCapabilities, MarkWriter, runCommand } from '../kernel/index.ts';
import { conntrackDump, conntrackEvents, linkEvents } from '../kernel/sources.ts';
import type { Policy } from '../language/index.ts';
import { formatMark, HeadgateError, type MarkField } from '../model/index.ts';
import type { MonitorItem } from '../monitor/index.ts';
import { MonitorStream } from '../monitor/stream.ts';
import { clearMarks, FlowClassifier, runPipeline, Sides, TupleMap } from '../pipeline/index.ts';
import {
  type DatapathName,
  effectOperations,
  ifbOf,
  type LinkShape,
  numberedQueues,
  qdiscsOf,
  tableOperation,
} from '../shape/index.ts';
import { Closers } from './closers.ts';
import { requestStatus, serveControl } from './control.ts';
import { bestDatapath, prepareDatapath } from './datapath.ts';
import { LinkKeeper } from './link-keeper.ts';
import { LinkWatch } from './link-watch.ts';
import { chooseMarksHere, defaultIsFree, warnOfMarksHere, whyNotMarks } from './marks.ts';
import { changeKernel, type LoadPolicy, type ReloadResult, reloadPolicy } from './reload.ts';
import { shapeHere } from './shape-here.ts';
import type { ServiceStatus } from './status.ts';

/** Wait before a socket that broke is opened again. */
const REOPEN_MS = 1000;

/** Headgate at work: the kernel's objects are in place, flows are being decided. */
export interface Service {
  /** Reads the policy anew and puts it in the running one's place; one with mistakes changes nothing. Never rejects. */
  reload(): Promise<ReloadResult>;
  /** Ends it. Unless `keep`, nothing of ours is left in the kernel: filters go first, our bits of the marks last. */
  stop(options: { readonly keep: boolean }): Promise<void>;
}

export interface ServiceOptions {
  /** How packets find their class; absent: the best way that works on this kernel. */
  readonly datapath?: DatapathName | undefined;
}

/**
 * Applies a policy and starts classifying. What an earlier, killed run left is taken down first.
 * When it rejects, nothing of ours is in the kernel, and nothing of anybody else's has changed.
 *
 * @param load reads the policy anew for a reload
 * @param onItem gets every item of the event stream, from `ready` on
 * @throws HeadgateError with the exit codes 2 to 5
 */
export async function startService(
  first: Policy,
  load: LoadPolicy,
  onItem: (item: MonitorItem) => void,
  options: ServiceOptions = {},
): Promise<Service> {
  ensureRoot('making qdiscs and devices');
  const capabilities = await getCapabilities();
  let policy = first;
  let shapes = await shapeHere(policy, qdiscsOf(capabilities));
  const name = options.datapath ?? bestDatapath(capabilities, shapes);
  const effects = effectOperations(policy, shapes);
  const opened = new Closers();
  let keep = false;
  try {
    const leave = await acquireInstance();
    if (!leave) throw new HeadgateError('HG_RUNNING', { pid: (await requestStatus())?.pid ?? 'unknown' });
    opened.add(leave);
    const scene = await inspect();
    checkTable(scene);
    await checkEffects(policy, scene);
    const { field, warnings } = await chooseMarksHere(policy, name, scene.field);

    const stream = new MonitorStream();
    stream.items.subscribe(onItem);
    const warn = (what: string) => (error: unknown) =>
      stream.emit({ kind: 'warning', message: `${what}: ${error instanceof Error ? error.message : error}` });
    opened.add(() => delFiles());
    await delFiles();
    let generation = 0;
    const prepare = (of: Policy, number: number) => prepareDatapath(name, of, field, number, capabilities);
    let prepared = await prepare(policy, generation);
    const { datapath } = prepared;
    if (datapath.map) checkMap(scene);
    for (const shape of shapes) checkLink(shape, scene, datapath);

    opened.add(() => (keep ? undefined : takeDown(field)));
    await teardown();
    // What is in the same bits, the classifier puts right.
    if (scene.field && scene.field.mask !== field.mask) await clearField(scene.field);
    // From here on the kernel tracks connections in this namespace, and has the functions that the classifier calls.
    await runOperations([tableOperation(policy, shapes, datapath), ...effects]);

    const keepers = shapes.map((shape) => new LinkKeeper(shape, datapath, (event) => stream.emit(event)));
    const sides = new Sides((ifindex) => keepers.some((keeper) => keeper.deviceIndex === ifindex));
    const watch = await LinkWatch.open(linkEvents(), sides, warn('the watch on links'));
    opened.add(() => watch.close());
    for (const keeper of keepers) await watch.add(keeper);

    const marks = MarkWriter.open();
    opened.add(() => marks.close());
    const counts = { overruns: 0, resyncs: 0 };
    const map = new TupleMap((command) => runCommand(command), warn('the map of flows'));
    const classifier = new FlowClassifier({
      policy,
      field,
      marksOrigin: datapath.marksOrigin,
      map: datapath.map ? map : undefined,
      sides,
      writeMarks: (requests) => marks.write(requests),
      emit: (event) => stream.emit(event),
      listening: () => !stream.idle,
    });
    const running = runPipeline({
      events: conntrackEvents({ groups: ['new', 'destroy'] }),
      dump: () => conntrackDump(),
      classifier,
      emit: (event) => {
        if (event.kind === 'overrun') counts.overruns += event.count;
        else counts.resyncs++;
        stream.emit(event);
      },
    })
      .pipe(
        retry({
          delay: (error) => {
            warn('conntrack could not be followed; trying again')(error);
            return new Promise((resolve) => setTimeout(resolve, REOPEN_MS));
          },
        }),
      )
      .subscribe();
    opened.add(() => running.unsubscribe());

    const status = (): ServiceStatus => ({
      pid: process.pid,
      policy: policy.file,
      datapath: datapath.name,
      marks: formatMark(field.mask),
      links: keepers.map(({ shape, state }) => ({ name: shape.link, device: shape.device, state })),
      queues: numberedQueues(policy).map(({ queue, number }) => ({ name: queue.name, number })),
      flows: { total: classifier.table.size, ...classifier.table.perOrigin },
      marksWritten: classifier.marksWritten,
      marksFailed: classifier.marksFailed,
      ...counts,
    });
    const change = async (next: Policy): Promise<void> => {
      const reason = whyNotMarks(next, field);
      if (reason !== undefined) throw new HeadgateError('HG_RELOAD', { reason });
      const nextShapes = await shapeHere(next, qdiscsOf(capabilities));
      const made = await prepare(next, generation + 1);
      const from = { policy, shapes, datapath: prepared.datapath };
      const to = { policy: next, shapes: nextShapes, datapath: made.datapath };
      const after = await changeKernel(from, to, keepers).catch(async (error) => {
        await delFiles(made.files);
        throw error;
      });
      const old = prepared.files;
      ({ policy, shapes } = to);
      prepared = made;
      generation++;
      classifier.replacePolicy(policy);
      for (const operation of after) await runOperations([operation]).catch(warn(operation.about));
      await delFiles(old);
    };
    const reload = (): Promise<ReloadResult> =>
      watch.exclusively(async () => {
        const { file } = policy;
        const result = await reloadPolicy(file, load, change);
        if ('error' in result) stream.emit({ kind: 'policy', state: 'kept', file, reason: result.error.message });
        else {
          stream.emit({ kind: 'policy', state: 'changed', file, reason: 'was read anew, and is in force' });
          advise();
          for (const message of await warnOfMarksHere(policy, name, field)) stream.emit({ kind: 'warning', message });
        }
        return result;
      });
    const control = await serveControl({ status, reload, items: stream.items });
    opened.add(() => {
      stream.complete();
      return control.close();
    });

    stream.emit({
      kind: 'ready',
      datapath: datapath.name,
      marks: formatMark(field.mask),
      links: shapes.map(({ link, device, download, upload, shares }) => ({
        name: link,
        device,
        download: download?.rate,
        upload: upload?.rate,
        ...(shares !== undefined && { shares }),
      })),
    });
    for (const shape of shapes)
      for (const chain of passedBy(shape, scene, datapath))
        stream.emit({
          kind: 'warning',
          message: `link ${shape.link}: what arrives on ${shape.device} passes by ${chain}, as bypass netdev-ingress allows`,
        });
    const advise = () => {
      for (const message of advice(policy, shapes)) stream.emit({ kind: 'warning', message });
    };
    advise();
    for (const message of warnings) stream.emit({ kind: 'warning', message });
    return {
      reload,
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

/** What the person should know of a policy that runs as it is. */
function advice(policy: Policy, shapes: readonly LinkShape[]): string[] {
  const still = shapes.filter((shape) => ifbOf(shape) === undefined && !shape.upload).map(({ link }) => link);
  const live = policy.rules.filter(
    ({ tier, effects }) => tier.kind === 'live' && effects.some(({ kind }) => kind === 'mirror' || kind === 'police'),
  );
  return [
    ...still.map(
      (link) => `link ${link} has no rate, so nothing is shaped; its flows are followed (--download, --upload)`,
    ),
    ...live.map(({ name }) => `rule ${name} is live: its mirror or police reaches no packet`),
  ];
}

/**
 * Takes everything of ours out of the kernel, and returns in words what it was.
 *
 * @param known the bits of the mark that are ours; absent: those that the kernel tells of
 */
export async function takeDown(known?: MarkField): Promise<string[]> {
  // Without our table nobody says which bits were ours.
  const field = known ?? (await inspect()).field ?? (await defaultIsFree());
  const removed = await teardown();
  await delFiles();
  // Marks without our objects are not ours to touch.
  if (removed.length > 0 && field) await clearField(field);
  return removed.map(({ about }) => about);
}

async function clearField(field: MarkField): Promise<void> {
  const marks = MarkWriter.open();
  await clearMarks(field, conntrackDump(), (requests) => marks.write(requests)).finally(() => marks.close());
}
