// Shows /api/openapi.json: operations, what they take, what they answer, and a curl line each.
"use strict";

const el = (tag, attributes = {}, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
};

let api;
const deref = (value) =>
  value && value.$ref
    ? value.$ref.slice(2).split("/").reduce((at, step) => at[step], api)
    : value;
const nameOf = (schema) => (schema.$ref ? schema.$ref.split("/").pop() : "");

function typeOf(schema) {
  if (schema.$ref) return nameOf(schema);
  if (schema.allOf) return schema.allOf.map(typeOf).join(" and ");
  if (schema.anyOf) return schema.anyOf.filter((one) => one.type !== "null").map(typeOf).join(" or ");
  if (schema.enum) return schema.enum.join(" | ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.type === "array") return `array of ${typeOf(schema.items)}`;
  const type = [].concat(schema.type ?? "any").join(" or ");
  return schema.format ? `${type} (${schema.format})` : type;
}

function limits(schema) {
  const at = deref(schema.anyOf?.length === 2 ? schema.anyOf[0] : schema);
  const parts = [];
  if (at.minLength !== undefined || at.maxLength !== undefined)
    parts.push(`${at.minLength ?? 0} to ${at.maxLength ?? "any number of"} characters`);
  if (at.minItems !== undefined) parts.push(`${at.minItems} to ${at.maxItems} items`);
  if (at.minimum !== undefined && at.maximum !== undefined) parts.push(`${at.minimum} to ${at.maximum}`);
  if (at.default !== undefined) parts.push(`default ${at.default}`);
  return parts.join(", ");
}

const described = (field) =>
  field.description ?? deref(field.anyOf?.[0] ?? field).description ?? "";

function fields(schema) {
  const at = deref(schema);
  const rows = Object.entries(at.properties ?? {}).map(([name, field]) => {
    const label = el("td", {}, el("code", {}, name));
    if ((at.required ?? []).includes(name)) label.append(" ", el("span", { class: "required" }, "required"));
    const about = [described(field), limits(field)];
    return el("tr", {}, label, el("td", {}, typeOf(field)), el("td", {}, about.filter(Boolean).join(" ")));
  });
  if (!rows.length) return el("p", {}, "No fields.");
  const head = el("tr", {}, ...["Field", "Type", ""].map((text) => el("th", { scope: "col" }, text)));
  return el("table", {}, el("thead", {}, head), el("tbody", {}, ...rows));
}

function curl(path, method, operation) {
  const parts = [`curl -s ${location.origin}${path}`];
  if (method !== "get") parts.push(`-X ${method.toUpperCase()}`);
  const body = operation.requestBody;
  const schema = body && deref(body.content["application/json"].schema);
  if (operation.parameters.some((parameter) => nameOf(parameter) === "IdempotencyKey"))
    parts.push("-H 'Idempotency-Key: a-key-of-yours'");
  if (schema && schema.example)
    parts.push("-H 'Content-Type: application/json'", `-d '${JSON.stringify(schema.example)}'`);
  return parts.join(" \\\n  ");
}

function section(path, method, operation) {
  const out = el("section", { id: operation.operationId, "aria-labelledby": `${operation.operationId}-title` });
  out.append(
    el("h2", { id: `${operation.operationId}-title` }, operation.summary),
    el("p", { class: "path" }, el("span", { class: `method ${method}` }, method), ` ${path}`),
  );
  if (operation.parameters.length) {
    const rows = operation.parameters.map(deref).map((parameter) => {
      const about = [parameter.description ?? parameter.schema.description ?? "", limits(parameter.schema)];
      return el("tr", {},
        el("td", {}, el("code", {}, parameter.name)),
        el("td", {}, parameter.in),
        el("td", {}, typeOf(parameter.schema)),
        el("td", {}, about.filter(Boolean).join(" ")));
    });
    const head = el("tr", {}, ...["Parameter", "In", "Type", ""].map((text) => el("th", { scope: "col" }, text)));
    out.append(el("h3", {}, "Takes"), el("table", {}, el("thead", {}, head), el("tbody", {}, ...rows)));
  }
  if (operation.requestBody) {
    const schema = operation.requestBody.content["application/json"].schema;
    const optional = operation.requestBody.required ? "" : " (may be left out)";
    out.append(el("h3", {}, `Body: ${nameOf(schema)}${optional}`), fields(schema));
  }
  out.append(el("h3", {}, "Answers"));
  const answers = Object.entries(operation.responses).map(([status, answer]) => {
    const [type, content] = Object.entries(answer.content)[0];
    const name = nameOf(content.schema) || type;
    const text = status < 400 ? name : answer.description.replaceAll("`", "");
    return el("tr", {}, el("td", {}, el("code", {}, status)), el("td", {}, text));
  });
  out.append(el("table", {}, el("tbody", {}, ...answers)));
  out.append(el("h3", {}, "Example"), el("pre", { tabindex: "0" }, curl(path, method, operation)));
  return out;
}

async function show() {
  const main = document.getElementById("main");
  const nav = document.getElementById("nav");
  const answer = await fetch("/api/openapi.json");
  if (!answer.ok) throw new Error(`the description answered ${answer.status}`);
  api = await answer.json();
  document.getElementById("version").textContent = api.info.version;
  main.replaceChildren(el("pre", { tabindex: "0" }, api.info.description));
  for (const tag of api.tags) {
    nav.append(el("h2", {}, tag.name));
    for (const [path, methods] of Object.entries(api.paths))
      for (const [method, operation] of Object.entries(methods)) {
        if (operation.tags[0] !== tag.name) continue;
        nav.append(el("a", { href: `#${operation.operationId}` }, operation.summary));
        main.append(section(path, method, operation));
      }
  }
  const schemas = el("section", { id: "schemas", "aria-labelledby": "schemas-title" },
    el("h2", { id: "schemas-title" }, "Schemas"));
  for (const [name, schema] of Object.entries(api.components.schemas)) {
    if (!schema.properties) continue;
    schemas.append(el("details", {}, el("summary", {}, name), fields(schema)));
  }
  main.append(schemas);
  if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
}

show().catch((error) => {
  document.getElementById("main").replaceChildren(
    el("p", { role: "alert" }, `The description could not be shown: ${error.message}`));
});
