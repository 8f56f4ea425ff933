// /api/docs: the OpenAPI document beside it as a page, of any store. Text nodes only, nothing from elsewhere.
import { forNow } from "./kept.js";

const below = location.pathname.replace(/\/docs\/?$/, "");
const token = forNow.getItem("token");
const answer = await fetch(`${below}/openapi.json`, token ? { headers: { Authorization: `Bearer ${token}` } } : {});
const api = await answer.json();

function make(name, text, parent, className) {
  const element = parent.appendChild(document.createElement(name));
  if (text !== undefined) element.textContent = text;
  if (className) element.className = className;
  return element;
}

// A schema in one line: what a person needs to write a request or read an answer.
function shape(schema) {
  if (!schema) return "";
  if (schema.$ref) {
    const name = schema.$ref.split("/").pop();
    const properties = api.components.schemas[name].properties ?? {};
    return `{ ${Object.entries(properties).map(([key, value]) => `${key}: ${shape(value)}`).join(", ")} }`;
  }
  if (schema.anyOf) return schema.anyOf.map(shape).join(" or ");
  if (schema.type === "array") return `[ ${shape(schema.items)}, … ]`;
  return schema.type ?? "anything";
}

document.getElementById("source").href = `${below}/openapi.json`;

function describe() {
  document.getElementById("title").textContent = `${api.info.title} REST API`;
  const { description } = api.components.securitySchemes.bearer;
  document.getElementById("description").textContent = `${api.info.description} Bearer token: ${description}.`;
  for (const [path, methods] of Object.entries(api.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      const section = make("section", undefined, document.getElementById("operations"));
      make("h2", operation.summary, section);
      make("code", `${method.toUpperCase()} ${below}${path}`, make("p", undefined, section, "line"));
      if (operation.description) make("p", operation.description, section);
      const list = make("dl", undefined, section);
      const item = (term, text) => {
        const pair = make("div", undefined, list);
        make("dt", term, pair);
        make("dd", text, pair);
      };
      for (const parameter of operation.parameters ?? []) {
        item(`${parameter.name} (${parameter.in}${parameter.required ? ", required" : ""})`, shape(parameter.schema));
      }
      const body = operation.requestBody?.content?.["application/json"]?.schema;
      if (body) item("body", shape(body));
      for (const [status, response] of Object.entries(operation.responses)) {
        if (status === "401" || status === "403") continue; // the same everywhere
        item(status, shape(response.content?.["application/json"]?.schema) || response.description);
      }
    }
  }
}

if (answer.ok) describe();
else {
  document.getElementById("description").textContent = answer.status === 401
    ? "This archive asks for a bearer token: enter one on its page, and come back." : api.detail;
}
