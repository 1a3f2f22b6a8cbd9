"""Colours for classes that nobody gave one."""

__all__ = ["CLASS_COLORS"]

CLASS_COLORS = (
    *("#999999", "#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7"),
    *("#0000ff", "#00ff00", "#ff00dd", "#ff0066", "#0066ff", "#555500", "#99ff88", "#882222"),
    *("#881188", "#ffaa88", "#00ffff", "#338800", "#cceebb", "#aa99ff", "#005555", "#aa44ff"),
    *("#ff0022", "#ffddff", "#aaee00", "#bbaa55", "#664455", "#ee44aa", "#00ffbb", "#991155"),
)
"""Okabe and Ito's palette, told apart by readers of every colour vision; from the ninth on, each as far from all before it (in CIELAB) as there is one."""
