// Says what is in the way before the page's modules are asked for: a browser loads none from disk, an old one knows none.
(function () {
  var starting = document.getElementById("starting");
  if (location.protocol === "file:") {
    starting.textContent =
      "Opened from disk, a browser does not let a page load its network. In a terminal: python app.py in the course's " +
      "folder, or python -m http.server in the folder of this page; then open the address that it prints.";
    return;
  }
  // The smallest program with an instruction for four numbers at once.
  var simd = new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11]);
  if (typeof WebAssembly !== "object" || !WebAssembly.validate(simd)) {
    starting.textContent =
      "This browser has no WebAssembly SIMD, which the network runs on. Chrome and Edge from 92, Firefox from 114 and " +
      "Safari from 16.4 have all that this page needs: update yours.";
    return;
  }
  import("./page.js").catch(function (error) {
    starting.textContent = "The page could not be started (" + error.message + "): load it again.";
  });
})();
