/** While one answer is being found, it is that of all who ask: looking at the kernel costs processes. */
export function shareRunning<T>(find: () => Promise<T>): () => Promise<T> {
  let running: Promise<T> | undefined;
  return () => {
    running ??= find().finally(() => {
      running = undefined;
    });
    return running;
  };
}
