import { defer, NEVER, type Observable } from 'rxjs';
import { TestScheduler } from 'rxjs/testing';
import { expect, it } from 'vitest';
import { REOPEN_MS } from '../../src/pipeline/index.ts';
import { keepFollowing } from '../../src/service/keep-following.ts';

/** Follows sources one after the other, of which those that are `open` could be opened. */
function following(sources: readonly { readonly open: boolean; readonly source: Observable<string> }[]) {
  const heard: unknown[] = [];
  const left = [...sources];
  const followed = keepFollowing(
    ({ opened }) =>
      defer(() => {
        const { open, source } = left.shift() ?? { open: false, source: NEVER };
        if (open) opened?.(() => expect.unreachable());
        return source;
      }),
    (error) => heard.push(error),
    () => heard.push('open'),
  );
  return { followed, heard };
}

const scheduler = () => new TestScheduler((actual, expected) => expect(actual).toEqual(expected));

it('passes on what comes, and the end; of nothing, nothing', () => {
  for (const marbles of ['', '-', '|', 'a|', 'a-b-c|'])
    scheduler().run(({ cold, expectObservable }) => {
      const { followed } = following([{ open: true, source: cold(marbles) }]);
      expectObservable(followed).toBe(marbles);
    });
});

it('opens one that broke again after a pause, also where that fails at first, and says so each time', () => {
  const { heard } = scheduler().run(({ cold, expectObservable }) => {
    const made = following([
      { open: true, source: cold('a-#', undefined, 'deaf') },
      { open: false, source: cold('#', undefined, 'no room') },
      { open: true, source: cold('-b|') },
    ]);
    expectObservable(made.followed).toBe(`a- ${REOPEN_MS}ms ${REOPEN_MS}ms -b|`);
    return made;
  });
  expect(heard).toEqual(['open', 'deaf', 'no room', 'open']);
});

it('errors where it cannot be opened at the very start', () => {
  const { heard } = scheduler().run(({ cold, expectObservable }) => {
    const made = following([{ open: false, source: cold('#', undefined, 'not allowed') }]);
    expectObservable(made.followed).toBe('#', undefined, 'not allowed');
    return made;
  });
  expect(heard).toEqual([]);
});

it('closes what it follows when nobody listens any more, and then opens nothing', () => {
  scheduler().run(({ cold, expectObservable, expectSubscriptions }) => {
    const source = cold<string>('--a--b');
    const { followed } = following([{ open: true, source }]);
    expectObservable(followed, '^---!').toBe('--a');
    expectSubscriptions(source.subscriptions).toBe('^---!');
    const broken = following([{ open: true, source: cold<string>('#') }]);
    expectObservable(broken.followed, '^--!').toBe('---');
  });
});
