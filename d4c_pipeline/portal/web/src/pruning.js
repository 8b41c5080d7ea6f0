// WHERE as a filter that skips row groups. It may only prune: what it does not understand prunes nothing.
const OPERATORS = { '=': '$eq', '==': '$eq', '<': '$lt', '<=': '$lte', '>': '$gt', '>=': '$gte' }
const MIRRORED = { $lt: '$gt', $lte: '$gte', $gt: '$lt', $gte: '$lte', $eq: '$eq' }

/** `kinds`: column -> `number` or `string`. A literal of another type than its column is compared by SQL's own rules. */
export function pruning(node, kinds) {
  const comparable = (column, ...literals) =>
    column.type === 'identifier' && literals.every(each => each.type === 'literal' && typeof each.value === kinds[column.name])
  if (node?.type === 'binary') {
    const operator = node.op.toUpperCase()
    const [left, right] = [node.left, node.right]
    if (operator === 'AND') {
      const parts = [left, right].map(each => pruning(each, kinds)).filter(Boolean)
      return parts.length ? { $and: parts } : undefined
    }
    if (operator === 'OR') {
      const parts = [left, right].map(each => pruning(each, kinds))
      return parts.every(Boolean) ? { $or: parts } : undefined
    }
    const name = OPERATORS[operator]
    if (name && comparable(left, right)) return { [left.name]: { [name]: right.value } }
    if (name && comparable(right, left)) return { [right.name]: { [MIRRORED[name]]: left.value } }
  }
  if (node?.type === 'between' && !node.not && comparable(node.expr, node.lower, node.upper))
    return { [node.expr.name]: { $gte: node.lower.value, $lte: node.upper.value } }
  if (node?.type === 'in valuelist' && !node.not && comparable(node.expr, ...node.values))
    return { [node.expr.name]: { $in: node.values.map(each => each.value) } }
  return undefined
}
