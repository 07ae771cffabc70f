import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import vm from 'node:vm';
import { describe, expect, test } from 'vitest';
import { packageFile } from '../../src/lab/index.ts';
import * as vocabulary from '../../src/language/vocabulary.ts';
import { PROTOCOLS } from '../../src/model/index.ts';
import { GROUPS, renderTextMate, renderVim } from './editor-grammar.ts';

const EDITOR = packageFile('docs/editor');
const GRAMMAR = join(EDITOR, 'vscode/syntaxes/gate.tmLanguage.json');
const json = (path: string) => JSON.parse(readFileSync(path, 'utf8'));

describe('the grammars', () => {
  test('say what the vocabulary says', async () => {
    await expect(renderTextMate()).toMatchFileSnapshot(GRAMMAR);
    await expect(renderVim()).toMatchFileSnapshot(join(EDITOR, 'vim/syntax/gate.vim'));
  });

  test('have every word of the language, each in one group', () => {
    const coloured = Object.values(GROUPS).flat();
    expect(coloured.length).toBe(new Set(coloured).size);
    const words = [
      ...vocabulary.RESERVED,
      ...Object.keys(vocabulary.SUBJECTS),
      ...Object.values(vocabulary.VALUES).flat(),
      ...Object.values(vocabulary.SETTINGS).flat(),
      ...vocabulary.LEAVES,
      ...vocabulary.TREES,
      ...vocabulary.FAIRNESS,
      ...vocabulary.BYPASSES,
      ...vocabulary.CONNTRACKS,
      ...vocabulary.EFFECTS,
      ...vocabulary.COUNTED,
      ...vocabulary.LINK_LAYERS,
      ...Object.keys(PROTOCOLS),
    ];
    expect(words.filter((word) => !coloured.includes(word))).toEqual([]);
  });

  const { patterns } = JSON.parse(renderTextMate()) as {
    patterns: { name?: string; match: string; captures?: Record<string, { name: string }> }[];
  };
  /** What a line is coloured as: at each place the leftmost match, of several the first pattern, as TextMate has it. */
  function colour(line: string): string[] {
    const out: string[] = [];
    for (let at = 0; at < line.length; ) {
      const found = patterns
        .map(({ match, name, captures }) => {
          const pattern = new RegExp(match, 'dg');
          pattern.lastIndex = at;
          return { hit: pattern.exec(line), name, captures };
        })
        .filter(({ hit }) => hit !== null && hit[0] !== '')
        .sort((a, b) => a.hit!.index - b.hit!.index)[0];
      if (!found?.hit) break;
      const { hit, name, captures } = found;
      if (name) out.push(`${hit[0]}: ${name}`);
      for (const [group, { name: scope }] of Object.entries(captures ?? {}))
        out.push(`${hit[Number(group)]}: ${scope}`);
      at = hit.index + hit[0].length;
    }
    return out.map((text) => text.replace(/\.gate$/, ''));
  }

  test('colour a rule', () => {
    expect(colour('rule voice when udp and local.port in 10000-20000->new-local # why')).toEqual([
      'rule: keyword.control',
      'voice: entity.name',
      'when: keyword.operator.word',
      'udp: constant.language',
      'and: keyword.operator.word',
      'local.port: support.variable',
      'in: keyword.operator.word',
      '10000: constant.numeric',
      '20000: constant.numeric',
      '->: keyword.operator.arrow',
      'new-local: variable.other.queue',
      '# why: comment.line.number-sign',
    ]);
  });

  test('colour no part of a name, nor of a comment or text', () => {
    expect(colour('remote-set in-2 udp.x "rule" # rule')).toEqual([
      'remote-set: variable.other',
      'in-2: variable.other',
      'udp.x: variable.other',
      '"rule": string.quoted.double',
      '# rule: comment.line.number-sign',
    ]);
  });

  test('colour addresses, rates and effects', () => {
    expect(colour('fd00::/8 ::1 [fd00::5]:443 50MB 01:00 -> add remote to')).toEqual([
      'fd00::/8: constant.numeric',
      '::1: constant.numeric',
      '[fd00::5]:443: constant.numeric',
      '50MB: constant.numeric',
      '01:00: constant.numeric',
      '->: keyword.operator',
      'add: keyword.other.effect',
      'remote: support.variable',
      'to: keyword.other.effect',
    ]);
  });
});

describe('the VS Code extension', () => {
  const folder = join(EDITOR, 'vscode');
  const manifest = json(join(folder, 'package.json'));

  test('names files that are there, and one language throughout', () => {
    const { languages, grammars, configuration } = manifest.contributes;
    for (const path of [manifest.main, languages[0].configuration, grammars[0].path])
      expect(existsSync(join(folder, path)), path).toBe(true);
    expect(grammars[0].scopeName).toBe('source.gate');
    expect(grammars[0].language).toBe(languages[0].id);
    expect(languages[0].extensions).toEqual(['.gate']);
    expect(manifest.activationEvents).toEqual([`onLanguage:${languages[0].id}`]);
    expect(manifest.version).toBe(json(packageFile('package.json')).version);
    expect(configuration.properties['headgate.command'].default).toEqual(['headgate', 'lsp']);
  });

  test('has a word pattern and indentation that fit the language', () => {
    const { wordPattern, indentationRules } = json(join(folder, 'language-configuration.json'));
    const words = 'local.port in torrent-ports->seed'.match(new RegExp(wordPattern, 'g'));
    expect(words).toEqual(['local.port', 'in', 'torrent-ports', 'seed']);
    const opens = new RegExp(indentationRules.increaseIndentPattern);
    expect(['link wan {', 'link wan { # why', 'link wan { }', '# {'].map((line) => opens.test(line))).toEqual([
      true,
      true,
      false,
      false,
    ]);
  });

  /** Runs the extension with a `vscode` that records what it is asked. */
  async function activate(client: boolean) {
    const log: unknown[] = [];
    const modules: Record<string, unknown> = {
      vscode: {
        window: { showWarningMessage: (message: string) => log.push(message) },
        workspace: {
          getConfiguration: (section: string) => ({
            get: (name: string) => manifest.contributes.configuration.properties[`${section}.${name}`].default,
          }),
          createFileSystemWatcher: (glob: string) => glob,
        },
      },
      'vscode-languageclient/node': {
        TransportKind: { stdio: 0 },
        LanguageClient: class {
          constructor(...args: unknown[]) {
            log.push(args);
          }
          start = () => log.push('start');
          stop = () => log.push('stop');
        },
      },
    };
    const require = (name: string) => {
      if (name === 'vscode' || (client && modules[name])) return modules[name];
      return createRequire(join(folder, 'extension.js'))(name);
    };
    const exports: { activate?: () => Promise<void>; deactivate?: () => unknown } = {};
    vm.runInThisContext(`(function (require, exports) {${readFileSync(join(folder, manifest.main), 'utf8')}\n})`)(
      require,
      exports,
    );
    await exports.activate!();
    exports.deactivate!();
    return log;
  }

  test('starts the server for gate files, and stops it', async () => {
    const [args, ...rest] = await activate(true);
    expect(args).toEqual([
      'headgate',
      'Headgate',
      { command: 'headgate', args: ['lsp'], transport: 0 },
      { documentSelector: [{ language: 'gate' }], synchronize: { fileEvents: '**/*.gate' } },
    ]);
    expect(rest).toEqual(['start', 'stop']);
  });

  test('says what is missing where its packages are not installed', async () => {
    expect(await activate(false)).toEqual([expect.stringContaining('npm install')]);
  });
});

test('the Helix file is what docs/editor/README.md shows', () => {
  const shown = readFileSync(join(EDITOR, 'README.md'), 'utf8').replace(/^ {4}/gm, '');
  expect(shown).toContain(readFileSync(join(EDITOR, 'helix/languages.toml'), 'utf8'));
});

test('docs/editor/README.md names files that are there', () => {
  const readme = readFileSync(join(EDITOR, 'README.md'), 'utf8');
  const links = [...readme.matchAll(/\]\(([^)#:]+)\)/g)].map((m) => m[1]!);
  expect(links.length).toBeGreaterThan(3);
  for (const link of links) expect(existsSync(join(dirname(join(EDITOR, 'README.md')), link)), link).toBe(true);
});
