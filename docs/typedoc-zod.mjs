/**
 * A field of a zod schema is described once, by `.meta({ description })` or by the comment of the schema that it is: the
 * reference shows that text. A literal, such as `kind`, is what its own schema's comment says.
 */
import { Comment, Converter } from "typedoc";
import ts from "typescript";

/** What the field's expression calls in a chain, such as `z.int().min(1).meta({…})`, from the last call to the first. */
function* chain(node) {
  for (let at = node; at !== undefined && ts.isCallExpression(at);) {
    yield at;
    at = ts.isPropertyAccessExpression(at.expression) ? at.expression.expression : undefined;
  }
}

const textOf = (node) => {
  if (ts.isStringLiteralLike(node)) return node.text;
  return ts.isBinaryExpression(node) ? `${textOf(node.left)}${textOf(node.right)}` : "";
};

const descriptionIn = (call) => {
  const [argument] = call.arguments;
  const isMeta = ts.isPropertyAccessExpression(call.expression) && call.expression.name.text === "meta";
  if (!isMeta || argument === undefined || !ts.isObjectLiteralExpression(argument)) return undefined;
  const field = argument.properties.find((property) => property.name?.getText() === "description");
  return field === undefined ? undefined : textOf(field.initializer);
};

/** The declaration that a name stands for. */
const declarationOf = (checker, node) => {
  let symbol = ts.isShorthandPropertyAssignment(node.parent)
    ? checker.getShorthandAssignmentValueSymbol(node.parent)
    : checker.getSymbolAtLocation(node);
  if (symbol !== undefined && symbol.flags & ts.SymbolFlags.Alias) symbol = checker.getAliasedSymbol(symbol);
  return symbol?.valueDeclaration;
};

/** The comment of a declaration, or of the one around it. */
const commentOf = (node) => {
  let at = node;
  while (at !== undefined && !ts.isVariableDeclaration(at)) at = at.parent;
  if (at === undefined) return undefined;
  const [comment] = ts.getJSDocCommentsAndTags(at);
  return comment === undefined ? undefined : ts.getTextOfJSDocComment(comment.comment);
};

const isLiteral = (call) => call.expression.getText() === "z.literal";

const describe = (checker, node) => {
  if (node === undefined) return undefined;
  if (ts.isPropertyAccessExpression(node)) return describe(checker, node.name);
  if (ts.isIdentifier(node)) {
    const declaration = declarationOf(checker, node);
    return describe(checker, declaration?.initializer) ?? commentOf(declaration);
  }
  for (const call of chain(node)) {
    const text = descriptionIn(call) ?? (isLiteral(call) ? commentOf(call) : undefined);
    if (text !== undefined) return text;
    const start = ts.isPropertyAccessExpression(call.expression) ? call.expression.expression : undefined;
    const isSchema = start !== undefined && (ts.isIdentifier(start) || ts.isPropertyAccessExpression(start));
    if (isSchema && start.getText() !== "z") return describe(checker, start);
  }
  return undefined;
};

export const load = (app) => {
  app.converter.on(Converter.EVENT_CREATE_DECLARATION, (context, reflection) => {
    if (reflection.comment !== undefined) return;
    const declaration = context.getSymbolFromReflection(reflection)?.declarations?.[0];
    if (declaration === undefined) return;
    const value = ts.isShorthandPropertyAssignment(declaration) ? declaration.name : declaration.initializer;
    const text = describe(context.checker, value);
    if (text !== undefined) reflection.comment = new Comment([{ kind: "text", text }]);
  });
};
