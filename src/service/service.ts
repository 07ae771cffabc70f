import { randomBytes } from 'node:crypto';
import { checkEffects, checkLink, checkMap, checkTable, runOperations, teardown, teardownOf } from '../apply/index.ts';
import { factSources } from '../facts/index.ts';
import { acquireInstance, delFiles, ensureRoot, Journal, replaceRecord } from '../kernel/index.ts';
import type { ParsedPolicy, Policy } from '../language/index.ts';
import { type Capabilities, formatMark, HeadgateError, type Loopback } from '../model/index.ts';
import type { MonitorItem } from '../monitor/index.ts';
import { MonitorStream } from '../monitor/stream.ts';
import { type DatapathName, effectOperations, nameBeside, qdiscsOf, tableOperation } from '../shape/index.ts';
import { listAdvice, listPassedBy, readyEvent } from './announce.ts';
import { listAnswers } from './answers.ts';
import { writeApplied } from './applied.ts';
import { getServicePid } from './ask.ts';
import { Changes } from './changes.ts';
import { Closers } from './closers.ts';
import { Confirmation } from './confirmation.ts';
import { serveControl } from './control.ts';
import { bestDatapath, ensureDatapath, prepareDatapath } from './datapath.ts';
import { explainThose, type IsMeant, meantByEnd, meantByFlow } from './explain-live.ts';
import { Finishing } from './finishing.ts';
import { Following } from './following.ts';
import { getPolicyView } from './get-policy.ts';
import { getStatus, queuesOf } from './get-status.ts';
import { listGuarded } from './guarded.ts';
import { Guarding } from './guarding.ts';
import { Links } from './links.ts';
import { listClassifiers } from './list-classifiers.ts';
import { listFlows, needsRates, readQuery } from './list-flows.ts';
import { chooseMarksHere } from './marks.ts';
import { listMetrics } from './metrics.ts';
import { clearField, recover, takeDown } from './recover.ts';
import type { LoadPolicy, ReloadResult } from './reload.ts';
import { findInForce, isSamePolicy } from './resume.ts';
import { openWeb } from './serve-web.ts';
import { shapeHere } from './shape-here.ts';
import { shareRunning } from './share-running.ts';
import type { ServiceStatus } from './status.ts';
import { TableKeeper } from './table-keeper.ts';
import { endTrial, getPolicyBefore } from './trial.ts';
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
  const loadWithTexts = async (): Promise<ParsedPolicy> => {
    const parsed = await load();
    if (parsed.policy) texts.set(parsed.policy, parsed.texts);
    return parsed;
  };
  let shapes = await shapeHere(policy, qdiscsOf(capabilities));
  let name = options.datapath ?? bestDatapath(capabilities, shapes);
  if (options.datapath) await ensureDatapath(name, capabilities);
  const opened = new Closers();
  let keep = false;
  try {
    const leave = await acquireInstance('service');
    if (!leave) throw new HeadgateError('HG_RUNNING', { pid: (await getServicePid()) ?? 'unknown' });
    opened.add(leave);
    const stream = new MonitorStream(randomBytes(4).toString('hex'));
    stream.notices.subscribe(onItem);
    const { warn } = stream;
    const guarding = await Guarding.open(warn('the guard'));
    opened.add(() => guarding.close());
    // A port that is taken is said before anything is touched.
    const web = options.web && (await openWeb(options.web));
    opened.add(() => web?.close());
    const { done: recovered, scene } = await recover();
    // Who has a time to confirm has a way back, and wants this one.
    const before = options.confirm === undefined ? await getPolicyBefore(policy) : undefined;
    const unconfirmed = before && policy;
    if (unconfirmed) {
      const message = `${unconfirmed.file} was not confirmed: what ran before is in force (headgate reload takes it, or up --confirm)`;
      stream.emit({ kind: 'warning', message });
      policy = before;
      shapes = await shapeHere(policy, qdiscsOf(capabilities));
      name = options.datapath ?? bestDatapath(capabilities, shapes);
    }
    guarding.tell(listGuarded(scene));
    const effects = effectOperations(policy, shapes);
    checkTable(scene);
    checkEffects(policy, scene, capabilities);
    const { field, warnings } = await chooseMarksHere(policy, name, scene);

    opened.add(() => (keep ? undefined : delFiles()));
    const found = await findInForce({ datapath: name, field }, scene, capabilities);
    const inForce = typeof found === 'string' ? undefined : found;
    if (!inForce) await delFiles();
    const same = inForce !== undefined && isSamePolicy(inForce.policy, policy);
    if (inForce) shapes = same ? [...inForce.shapes] : nameBeside(inForce.shapes, shapes);
    const generation = inForce ? inForce.generation + (same ? 0 : 1) : 0;
    const prepared = same ? inForce.prepared : await prepareDatapath(name, policy, field, generation, capabilities);
    const { datapath } = prepared;
    if (datapath.map) checkMap(scene);
    for (const shape of shapes) checkLink(shape, scene, datapath);

    opened.add(() => (keep ? undefined : takeDown(field)));
    const journal = await Journal.begin(inForce ? { kind: 'reload', applied: writeApplied(inForce) } : { kind: 'up' });
    if (!inForce) {
      if (teardownOf(scene).length > 0) await teardown();
      // What is in the same bits, the classifier puts right.
      if (scene.field && scene.field.mask !== field.mask) await clearField(scene.field);
      // From here on the kernel tracks connections in this namespace, and has the functions that the classifier calls.
      await runOperations([tableOperation(policy, shapes, datapath), ...effects], { journal });
    }

    const wanted = { policy, shapes, datapath };
    const from = inForce && { policy: inForce.policy, shapes: inForce.shapes, datapath: inForce.prepared.datapath };
    const links = await Links.open(from ?? wanted, from ? 'as it is' : 'anew', stream, guarding, options.deadline);
    opened.add(() => links.close());
    const finishing = new Finishing((about, error) => warn(about)(error));
    opened.add(() => finishing.hurry());
    const rest = from && !same ? await links.exclusively(() => links.change(from, wanted, capabilities, journal)) : [];
    opened.add(links.keepDeadline());
    const tables = new TableKeeper(
      (event) => stream.emit(event),
      () => following.refill(),
    );
    await Promise.all([
      replaceRecord('applied', writeApplied({ policy, datapath: name, generation })),
      links.exclusively(() => tables.become(wanted)),
    ]);
    if (!unconfirmed && options.confirm === undefined) await endTrial();
    // Until then whoever finds the journal takes it back.
    const oldFiles = inForce?.prepared.files.filter((path) => !prepared.files.includes(path)) ?? [];
    const settleStart = () => finishing.begin(rest, journal, oldFiles);
    if (options.confirm === undefined) void settleStart();

    const sources = factSources(links.sides);
    const following = new Following(stream, links.sides, wanted, sources, inForce !== undefined);
    opened.add(() => following.close());
    links.keep(tables);
    const confirmation = new Confirmation(
      (event) => stream.emit(event),
      () => endTrial().catch(warn('the record')),
    );
    opened.add(() => confirmation.close());
    const changes = new Changes(
      { policy, shapes, datapath: name, generation, prepared },
      { capabilities, field, load: loadWithTexts, stream, links, following, tables, confirmation, finishing },
    );

    const status = (): ServiceStatus => ({
      pid: process.pid,
      policy: changes.policy.file,
      datapath: name,
      marks: formatMark(field.mask),
      queues: queuesOf(changes.policy),
      ...links.status,
      ...following.status,
      facts: sources.flatMap(({ word, counts, blind }) => {
        const its = counts();
        return Object.keys(its).length === 0 ? [] : [{ word, counts: its, blind }];
      }),
      confirm: confirmation.waiting,
    });
    const classifiers = shareRunning(() => listClassifiers(links.shapes, datapath));
    const explain = async (text: string, isMeant: IsMeant) => {
      const filters = await classifiers();
      const { policy } = changes;
      return following.withFlows(policy.needs.counters ? 'counters' : 'nothing', (...known) =>
        explainThose(text, isMeant, { policy, filters }, ...known),
      );
    };
    const answers = listAnswers({
      status: () => getStatus(status()),
      service: status,
      policy: () => getPolicyView(changes.policy, texts.get(changes.policy), following.tally),
      explain: (text) => explain(text, meantByFlow(text, changes.policy)),
      why: (end) => explain(end, meantByEnd(end)),
      flows: (parameters) => {
        const query = readQuery(parameters, changes.policy);
        return following.withFlows(needsRates(query) ? 'rates' : 'counters', (...known) =>
          listFlows(query, changes.policy, ...known),
        );
      },
      stream,
      known: (counted) => following.known(counted),
      metrics: (now) => listMetrics(now, following.tally, stream.counts),
    });
    const control = await serveControl(answers, {
      reload: (ms) => changes.reload(ms),
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
    opened.add(() => changes.stop());

    await finishing.ended;
    stream.emit(readyEvent(changes.policy, changes.shapes, datapath, field));
    if (recovered.length > 0) stream.emit({ kind: 'warning', message: recovered.join('; ') });
    for (const message of [
      ...listPassedBy(changes.shapes, scene, datapath),
      ...listAdvice(changes.shapes),
      ...warnings,
    ])
      stream.emit({ kind: 'warning', message });
    if (typeof found === 'string' && scene.table === 'ours')
      stream.emit({ kind: 'warning', message: `what an earlier run has left was built anew: ${found}` });
    const { confirm } = options;
    const expired = new Promise<void>((resolve) => {
      if (confirm !== undefined) confirmation.begin('up', confirm, { settle: settleStart, takeBack: resolve });
    });
    return {
      reload: () => changes.reload(),
      unconfirmed: expired,
      ...(web && { web: web.url }),
      isAlive: () => links.exclusively(async () => following.alive && links.alive),
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
