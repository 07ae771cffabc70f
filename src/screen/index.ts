export { type Figures, figuresOf, type QueueFigure } from './figures.ts';
export { drawFrame, SORTS, type Sort, type Style, type View } from './frame.ts';
export { Terminal } from './terminal.ts';
