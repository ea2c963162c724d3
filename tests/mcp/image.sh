# Sourced: makes the image MCP_TEST_IMAGE of the runners, which is the program, for it can be a
# simulated runner, and its shared libraries. The image goes when the shell ends.
image=$(mktemp -d)
mkdir -m 1777 "$image/tmp"
ln "$CARGO_TARGET_DIR/debug/ipfs-accelerate" "$image/" 2>/dev/null || cp "$CARGO_TARGET_DIR/debug/ipfs-accelerate" "$image/"
libraries=$(ldd "$image/ipfs-accelerate" | grep -o '/[^ ]*' | sort -u || true)
# shellcheck disable=SC2086
tar --create --dereference --absolute-names --directory "$image" tmp ipfs-accelerate $libraries |
  docker import --change 'ENTRYPOINT ["/ipfs-accelerate", "simulated-runner"]' - "$MCP_TEST_IMAGE" >/dev/null
rm -rf "$image"
trap 'docker rmi --force "$MCP_TEST_IMAGE" >/dev/null' EXIT
