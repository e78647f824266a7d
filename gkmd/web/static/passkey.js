// Passkeys: options and answers go to the portal, which gives them to the key server.
"use strict";

(() => {
  const octets = (text) => {
    const plain = atob(text.replace(/-/g, "+").replace(/_/g, "/"));
    return Uint8Array.from(plain, (one) => one.charCodeAt(0));
  };
  const text = (buffer) => {
    const plain = String.fromCharCode(...new Uint8Array(buffer));
    return btoa(plain).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
  };

  const post = async (path, data) => {
    const answer = await fetch(path, {
      method: "POST",
      headers: {
        "Content-Type": "application/json",
        "X-CSRF-Token": document.querySelector("meta[name=csrf]").content,
      },
      body: JSON.stringify(data),
    });
    const found = await answer.json();
    if (!answer.ok) throw new Error(found.detail);
    return found;
  };

  const readable = (options) => {
    const key = structuredClone(options.publicKey || options);
    key.challenge = octets(key.challenge);
    if (key.user) key.user.id = octets(key.user.id);
    for (const list of [key.allowCredentials, key.excludeCredentials]) {
      for (const one of list || []) one.id = octets(one.id);
    }
    return { publicKey: key };
  };

  const writable = (made) => {
    const response = {};
    for (const name of ["clientDataJSON", "attestationObject", "authenticatorData", "signature", "userHandle"]) {
      if (made.response[name]) response[name] = text(made.response[name]);
    }
    if (made.response.getTransports) response.transports = made.response.getTransports();
    return {
      id: made.id,
      rawId: text(made.rawId),
      type: made.type,
      response,
      authenticatorAttachment: made.authenticatorAttachment,
      clientExtensionResults: made.getClientExtensionResults(),
    };
  };

  const offer = (id, run) => {
    const box = document.getElementById(id);
    if (!box || !window.PublicKeyCredential) return;
    const trouble = box.querySelector("[role=alert]");
    box.hidden = false;
    box.querySelector("button").addEventListener("click", async () => {
      trouble.hidden = true;
      try {
        await run(box);
      } catch (error) {
        trouble.textContent = error.name === "NotAllowedError" ? "It was not confirmed." : error.message;
        trouble.hidden = false;
      }
    });
  };

  document.addEventListener("DOMContentLoaded", () => {
    offer("passkey-sign-in", async (box) => {
      const begun = await post("/sign-in/passkey/challenge", {});
      const made = await navigator.credentials.get(readable(begun.options));
      const found = await post("/sign-in/passkey", {
        challenge: begun.challenge,
        credential: writable(made),
        next: box.dataset.next,
      });
      window.location.assign(found.next);
    });
    offer("passkey-add", async (box) => {
      const begun = await post("/account/passkeys/challenge", {});
      const made = await navigator.credentials.create(readable(begun.options));
      await post("/account/passkeys", {
        challenge: begun.challenge,
        credential: writable(made),
        name: box.querySelector("input").value,
      });
      window.location.assign("/account?done=passkey");
    });
  });
})();
