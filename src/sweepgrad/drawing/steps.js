// Evaluate an expression with all gradients in the browser, as sweepgrad.drawing.expressions and graph do in
// Python: the same grammar, operations, names and order of nodes. A test compares the two on 1,000 expressions.

/** A mistake in an expression, and the characters from `from` to `to` that it is about. */
class Mistake extends Error {
  constructor(message, from = 0, to = from) {
    super(message);
    Object.assign(this, {from, to});
  }
}

const fail = (message, {from, to}) => {
  throw new Mistake(message, from, to);
};
const sigmoid = a => (a >= 0 ? 1 / (1 + Math.exp(-a)) : Math.exp(a) / (1 + Math.exp(a)));

// Forward rule, and for each parent the local gradient from the result's gradient g, the result y and the parents.
const OPERATIONS = {
  "+": {forward: (a, b) => a + b, gradients: [g => g, g => g]},
  "-": {forward: (a, b) => a - b, gradients: [g => g, g => -g]},
  "*": {forward: (a, b) => a * b, gradients: [(g, y, a, b) => g * b, (g, y, a) => g * a]},
  "/": {forward: (a, b) => (b === 0 ? NaN : a / b), gradients: [(g, y, a, b) => g / b, (g, y, a, b) => (-g * y) / b]},
  neg: {forward: a => -a, gradients: [g => -g]},
  exp: {forward: Math.exp, gradients: [(g, y) => g * y]},
  log: {forward: a => (a > 0 ? Math.log(a) : NaN), gradients: [(g, y, a) => g / a]},
  relu: {forward: a => Math.max(a, 0), gradients: [(g, y, a) => g * (a > 0 ? 1 : 0)]},
  tanh: {forward: Math.tanh, gradients: [(g, y) => g * (1 - y * y)]},
  sigmoid: {forward: a => sigmoid(a), gradients: [(g, y) => g * (y * (1 - y))]},
  softplus: {forward: a => Math.max(a, 0) + Math.log1p(Math.exp(-Math.abs(a))), gradients: [(g, y, a) => g * sigmoid(a)]},
};
const power = (a, n) => (a === 0 && n < 0 ? NaN : a ** n);
const powerOf = n => ({forward: a => power(a, n), gradients: [(g, y, a) => g * (n * (n === 0 ? 1 : power(a, n - 1)))]});
const FUNCTIONS = ["exp", "log", "relu", "tanh", "softplus", "sigmoid"];

/** Format a number as Python's %.4g does: what lies exactly in the middle goes to the even digit. */
function format(x, digits = 4) {
  if (!Number.isFinite(x)) return x > 0 ? "inf" : x < 0 ? "-inf" : "nan";
  if (x === 0) return "0";
  const [all, power] = x.toExponential(60).split("e"), kept = all.slice(0, all.indexOf(".") + digits); // all: exact digits
  const tie = /^50*$/.test(all.slice(kept.length)), even = "02468".includes(kept.at(-1));
  const rounded = tie && even ? `${kept}e${power}` : x.toExponential(digits - 1); // which rounds ties away from 0
  const strip = text => (text.includes(".") ? text.replace(/\.?0+$/, "") : text);
  const [mantissa, exponent] = rounded.split("e").map(Number);
  if (exponent >= -4 && exponent < digits) return strip(Number(rounded).toFixed(digits - 1 - exponent));
  return `${strip(mantissa.toFixed(digits - 1))}e${exponent < 0 ? "-" : "+"}${String(Math.abs(exponent)).padStart(2, "0")}`;
}

function tokens(text) {
  const pattern = /\s*(?:((?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)|([\p{L}_][\p{L}\p{N}_]*)|(\*\*|[-+*\/(),;=]))/iuy;
  const found = [];
  while (text.slice(pattern.lastIndex).trim()) {
    const from = pattern.lastIndex + text.slice(pattern.lastIndex).search(/\S/);
    const match = pattern.exec(text);
    if (!match) fail(`${text[from]} cannot be used here; use numbers, names, + - * / ** and functions`, {from, to: from + 1});
    const kind = match[1] ? "number" : match[2] ? "name" : "sign";
    found.push({kind, text: match[0].trim(), from, to: pattern.lastIndex});
  }
  return [...found, {kind: "end", text: "", from: text.length, to: text.length}];
}

/** Return the numbers of "x1=1 x2=0". */
function numbers(text) {
  const given = new Map();
  for (const word of text.split(/[\s,;]+/).filter(Boolean)) {
    const match = /^([\p{L}_][\p{L}\p{N}_]*)=([-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)$/iu.exec(word);
    if (!match) throw new Mistake(`${word} must be NAME=NUMBER, without blanks`);
    if (!Number.isFinite(Number(match[2]))) throw new Mistake(`${word}: ${match[2]} is too large a number`);
    if (given.has(match[1])) throw new Mistake(`${word}: ${match[1]} is given twice; leave one out`);
    given.set(match[1], Number(match[2]));
  }
  return given;
}

/** Return the node that an expression, or the last of several assignments separated by ;, comes to. */
function parsed(text, given) {
  const scope = new Map([...given].map(([name, data]) => [name, {label: name, data, parents: []}]));
  const used = new Set(), list = tokens(text);
  let place = 0;
  const now = () => list[place], next = () => list[place++];
  const is = (...signs) => now().kind === "sign" && signs.includes(now().text);
  const missing = (what, token) => fail(`${what} is missing: ${token.text ? `there is ${token.text}` : "the expression ends"}`, token);
  const take = sign => (is(sign) ? next() : missing(sign, now()));
  const apply = (name, from, parents, operation = OPERATIONS[name]) => {
    const data = operation.forward(...parents.map(parent => parent.data));
    const at = parents.map(parent => format(parent.data)).join(" and ");
    if (!Number.isFinite(data)) fail(`${name} ${Number.isNaN(data) ? "has no value" : "is too large a number"} at ${at}`, {from, to: list[place - 1].to});
    return {label: "", data, name, operation, parents};
  };
  // A number is a node only where it is used as one: -3 and the exponent of x ** 3 are not computed.
  const node = part => ("literal" in part ? {label: format(part.literal, 6), data: part.literal, parents: []} : part);

  function atom() {
    const token = next();
    if (token.kind === "number") {
      const literal = Number(token.text);
      if (!Number.isFinite(literal)) fail(`${token.text} is too large a number`, token);
      if (/^0\d*[1-9]\d*$/.test(token.text)) fail(`${token.text} must not begin with 0`, token);
      return {literal, sign: 1};
    }
    if (token.kind === "name" && is("(")) return call(token);
    if (token.kind === "name") {
      if (!scope.has(token.text)) fail(`${token.text} has no value: add ${token.text}=NUMBER to the values`, token);
      used.add(token.text);
      return scope.get(token.text);
    }
    if (token.text !== "(") missing("a number, a name or (", token);
    const inner = sum();
    take(")");
    return inner;
  }

  function call(token) {
    const {text: name, from} = token;
    if (!FUNCTIONS.includes(name)) fail(`${name} is not a function; use ${FUNCTIONS.join(", ")}`, token);
    take("(");
    let argument = node(sum());
    if (name === "sigmoid" && is(",")) {
      place += 1;
      if (now().text === "scale" && list[place + 1].text === "=") place += 2;
      argument = apply("*", from, [argument, node(sum())]);
    }
    take(")");
    return apply(name, from, [argument]);
  }

  function raised() {
    const {from} = now(), base = atom();
    if (!is("**")) return base;
    place += 1;
    const exponent = signed(), n = exponent.literal;
    if (n !== undefined) return apply(`** ${format(n)}`, from, [node(base)], powerOf(n));
    if (node(base).data <= 0) fail("a power with a variable exponent needs a base above 0", {from, to: list[place - 1].to});
    return apply("exp", from, [apply("*", from, [exponent, apply("log", from, [node(base)])])]);
  }

  function signed() {
    if (!is("+", "-")) return raised();
    const {text: sign, from} = next(), operand = signed();
    if (sign === "+") return node(operand);
    return operand.sign === 1 ? {literal: -operand.literal, sign: -1} : apply("neg", from, [node(operand)]);
  }

  const chain = (part, ...signs) => () => {
    const {from} = now();
    let left = part();
    while (is(...signs)) left = apply(next().text, from, [node(left), node(part())]);
    return left;
  };
  const product = chain(signed, "*", "/"), sum = chain(product, "+", "-");

  let result = null;
  while (now().kind !== "end") {
    const token = now(), assigns = token.kind === "name" && list[place + 1].text === "=";
    if (assigns) place += 2;
    if (assigns && given.has(token.text)) fail(`${token.text} is among the values and assigned too; leave one out`, token);
    if (assigns && scope.has(token.text)) fail(`${token.text} is assigned twice; use another name for the second`, token);
    result = node(sum());
    if (assigns && result.label) fail(`${token.text} = ${result.label} names the same value twice; leave one out`, token);
    if (assigns) scope.set(token.text, Object.assign(result, {label: token.text}));
    if (now().kind !== "end") take(";");
  }
  if (!result) throw new Mistake("the expression is empty; give one such as log(x) * y");
  for (const name of given.keys()) if (!used.has(name)) throw new Mistake(`${name} is not used; leave it out of the values`);
  if (!result.parents.length) throw new Mistake("there is no operation to draw");
  result.label ||= ["L", "R", ...[...scope.keys()].map((_, n) => `R${n + 1}`)].find(name => !scope.has(name));
  return result;
}

/** Return the graph of an expression: nodes, parents before children, with gradients, and edges with partials. */
function evaluate(text, values) {
  const given = numbers(values), order = [], seen = new Set();
  const stack = [[parsed(text, given), false]];
  while (stack.length) {
    const [node, done] = stack.pop();
    if (done) order.push(node);
    else if (!seen.has(node)) {
      seen.add(node);
      stack.push([node, true], ...node.parents.map(parent => [parent, false]).reverse());
    }
  }
  const number = new Map(order.map((node, n) => [node, n])), taken = new Set(order.map(node => node.label));
  const grads = order.map((_, n) => (n === order.length - 1 ? 1 : 0)), passed = new Map();
  for (const node of [...order].reverse()) {
    const inputs = [node.data, ...node.parents.map(parent => parent.data)], g = grads[number.get(node)];
    passed.set(node, node.parents.map((parent, i) => {
      const [share, partial] = [g, 1].map(from => node.operation.gradients[i](from, ...inputs));
      grads[number.get(parent)] += share;
      if (Number.isNaN(partial) || Number.isNaN(grads[number.get(parent)])) {
        throw new Mistake(`a gradient does not exist: ${node.name} has no derivative at ${format(parent.data)}`);
      }
      if (![partial, grads[number.get(parent)]].every(Number.isFinite)) throw new Mistake(`a gradient of ${node.name} is too large a number`);
      return {parent: number.get(parent), child: number.get(node), partial, share};
    }));
  }
  const free = [...order, ...order].map((_, n) => `v${n + 1}`).filter(name => !taken.has(name));
  const nodes = order.map((node, n) => ({name: node.label || free.shift(), operation: node.name ?? "", data: node.data, grad: grads[n]}));
  return {nodes, edges: order.flatMap(node => passed.get(node))};
}
