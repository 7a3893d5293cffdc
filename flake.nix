{
  description = "Live open ports, packet statistics and captures of Kubernetes nodes in a terminal, with nothing left behind";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";

  outputs = { self, nixpkgs }:
    let
      systems = [ "x86_64-linux" "aarch64-linux" "x86_64-darwin" "aarch64-darwin" ];
      each = make: nixpkgs.lib.genAttrs systems (system: make nixpkgs.legacyPackages.${system});
      manifest = (builtins.fromTOML (builtins.readFile ./Cargo.toml)).workspace.package;
    in
    {
      packages = each (pkgs: {
        default = pkgs.rustPlatform.buildRustPackage {
          pname = "nodewatch-tui";
          version = manifest.version;
          src = self;
          cargoLock.lockFile = ./Cargo.lock;
          # The agent, too, for --local; it is written for Linux.
          cargoBuildFlags = [ "-p" "nodewatch-tui" ] ++ pkgs.lib.optionals pkgs.stdenv.isLinux [ "-p" "nodewatch-agent" ];
          nativeBuildInputs = [ pkgs.cmake pkgs.perl ];
          buildInputs = [ pkgs.libpcap ];
          # They want namespaces, tshark and more than a sandbox has: make test runs them.
          doCheck = false;
          postInstall = ''
            ln -s nodewatch-tui $out/bin/kubectl-nodewatch
            ln -s nodewatch-tui $out/bin/kubectl_complete-nodewatch
          '';
          meta = {
            license = pkgs.lib.licenses.asl20;
            mainProgram = "nodewatch-tui";
          };
        };
      });
    };
}
