# A formula for Homebrew, for a tap of one's own: nodewatch-tui.rb in Formula/. assets/dist.sh fills in what stands between
# @ signs; builds from source.
class NodewatchTui < Formula
  desc "Live open ports, packet statistics and captures of Kubernetes nodes"
  homepage "@URL@"
  url "@URL@/releases/download/v@VERSION@/nodewatch-tui-@VERSION@-source.tar.gz"
  sha256 "@SHA256_SOURCE@"
  license "Apache-2.0"

  depends_on "cmake" => :build
  depends_on "rust" => :build
  uses_from_macos "libpcap"

  def install
    system "cargo", "install", *std_cargo_args
    bin.install_symlink "nodewatch-tui" => "kubectl-nodewatch"
    bin.install_symlink "nodewatch-tui" => "kubectl_complete-nodewatch"
    generate_completions_from_executable(bin/"nodewatch-tui", "completions")
    (man1/"nodewatch-tui.1").write Utils.safe_popen_read(bin/"nodewatch-tui", "man")
  end

  test do
    assert_match version.to_s, shell_output("#{bin}/nodewatch-tui --version")
  end
end
