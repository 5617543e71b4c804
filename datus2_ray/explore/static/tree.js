// The tree of clusters: fine clusters are the nodes 0 … M-1, merge number i makes node M + i.

export class Tree {
  constructor(run) {
    const { left, right, heights } = run;
    this.leaves = left.length + 1;
    this.nodes = 2 * this.leaves - 1;
    this.left = left; this.right = right; this.heights = heights;
    this.parent = new Int32Array(this.nodes).fill(-1);
    this.pixels = new Float64Array(this.nodes);
    this.segments = new Float64Array(this.nodes);
    this.firstLeaf = new Int32Array(this.nodes);
    this.known = new Map();
    for (let node = 0; node < this.nodes; node++) {
      if (node < this.leaves) {
        this.pixels[node] = run.leafPixels[node];
        this.segments[node] = run.leafSegments[node];
        this.firstLeaf[node] = node;
        continue;
      }
      const [a, b] = this.children(node);
      this.parent[a] = this.parent[b] = node;
      this.pixels[node] = this.pixels[a] + this.pixels[b];
      this.segments[node] = this.segments[a] + this.segments[b];
      this.firstLeaf[node] = Math.min(this.firstLeaf[a], this.firstLeaf[b]);
    }
  }

  isLeaf(node) { return node < this.leaves; }
  children(node) { return [this.left[node - this.leaves], this.right[node - this.leaves]]; }

  /** Fine clusters of a node. */
  leavesOf(node) {
    if (this.known.has(node)) return this.known.get(node);
    const found = [], stack = [node];
    while (stack.length) {
      const at = stack.pop();
      if (this.isLeaf(at)) found.push(at);
      else stack.push(...this.children(at));
    }
    this.known.set(node, found);
    return found;
  }

  /** Nodes that are the K clusters, by their numbers: in the order of their first fine clusters. */
  cut(k) {
    const merges = this.leaves - k, nodes = [];
    for (let node = 0; node < this.leaves + merges; node++) {
      const parent = this.parent[node];
      if (parent < 0 || parent - this.leaves >= merges) nodes.push(node);
    }
    return nodes.sort((a, b) => this.firstLeaf[a] - this.firstLeaf[b]);
  }

  /** The K clusters with some nodes split in two, and their labels: 7 is split into 7a and 7b. */
  view(k, splits) {
    const labels = new Map();
    const place = (node, label) => {
      if (splits.has(node) && !this.isLeaf(node)) this.children(node).forEach((child, i) => place(child, label + "ab"[i]));
      else labels.set(node, label);
    };
    this.cut(k).forEach((node, number) => place(node, String(number)));
    return labels;
  }

  /** Nodes of a view in the order of their relation to one of them, nearest first, at most `most`. */
  relatives(node, inView, most) {
    const found = [];
    for (let at = node, parent = this.parent[at]; parent >= 0 && found.length < most; at = parent, parent = this.parent[at]) {
      const other = this.children(parent).find((child) => child !== at);
      const here = [], stack = [other];
      while (stack.length) {
        const next = stack.pop();
        if (inView.has(next)) here.push(next);
        else if (!this.isLeaf(next)) stack.push(...this.children(next));
      }
      here.sort((a, b) => this.pixels[b] - this.pixels[a]);
      found.push(...here);
    }
    return found.slice(0, most);
  }

  /** Pairs of nodes of a view that the tree would join next. */
  pairs(inView) {
    const found = [];
    for (let merge = 0; merge < this.leaves - 1; merge++) {
      const [a, b] = this.children(this.leaves + merge);
      if (inView.has(a) && inView.has(b)) found.push([a, b]);
    }
    return found;
  }
}
