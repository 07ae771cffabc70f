/**
 * Compiles a name with `*`, which stands for any run of characters, the empty one too, to the function that says
 * whether a text is such a name, whole. So `*.example.org` matches what lies below example.org, not itself.
 * Its time is at most the product of both lengths, whatever the pattern.
 */
export function compilePattern(pattern: string): (text: string) => boolean {
  const [head, ...rest] = pattern.split('*') as [string, ...string[]];
  const tail = rest.pop();
  if (tail === undefined) return (text) => text === head;
  const least = head.length + tail.length;
  return (text) => {
    if (text.length < least || !text.startsWith(head) || !text.endsWith(tail)) return false;
    // The leftmost place for each part leaves the most for those behind it.
    let at = head.length;
    const end = text.length - tail.length;
    for (const part of rest) {
      const found = text.indexOf(part, at);
      if (found < 0 || found + part.length > end) return false;
      at = found + part.length;
    }
    return true;
  };
}
