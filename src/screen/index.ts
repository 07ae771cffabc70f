export { type Figures, figuresOf, type QueueFigure } from './figures.ts';
export { type FlowLine, SORTS, type Sort, sortFlows } from './flows.ts';
export { drawFrame, type Style, type View } from './frame.ts';
export { Terminal } from './terminal.ts';
