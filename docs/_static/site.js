window.MathJax = {
  tex: { inlineMath: [["\\(", "\\)"]], displayMath: [["\\[", "\\]"]] },
  options: { ignoreHtmlClass: ".*", processHtmlClass: "arithmatex" },
};
// A page that was opened as a file may not load the index of the search.
if (location.protocol === "file:") {
  document.addEventListener("DOMContentLoaded", () => {
    const input = document.querySelector(".md-search__input");
    input.placeholder = "Search needs make docs-serve";
    input.disabled = true;
  });
}
