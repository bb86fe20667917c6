"""Worlds: engines, tasks, experts, Gymnasium environments."""

import gymnasium

gymnasium.register(id="ALFWorld-v0", entry_point="spa_bench.environments.alfworld.env:ALFWorld", order_enforce=False)
gymnasium.register(id="WebShop-v0", entry_point="spa_bench.environments.webshop.env:WebShop", order_enforce=False)
gymnasium.register(
    id="VirtualHome-v0", entry_point="spa_bench.environments.virtualhome.env:VirtualHome", order_enforce=False
)
