/**
 * The side panel. Empty until a notebook's kernel has something to show.
 */
import { Widget } from '@lumino/widgets';

export class Panel extends Widget {
  constructor() {
    super();
    this.id = 'ipytilt-panel';
    this.addClass('ipytilt-Panel');
    this.title.label = 'ipytilt';
    this.title.caption = 'ipytilt: resources of the open notebooks';
    const hint = document.createElement('p');
    hint.textContent = 'Run %load_ext ipytilt in a notebook to see its resources there.';
    this.node.append(hint);
  }
}
