// Before anything is drawn, so that no page flashes in the wrong colours.
"use strict";
{
  const chosen = localStorage.getItem("a4co-theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
}
