"""
How many participants have the effect
=====================================

A *t*-test of accuracies against chance rejects that *nobody* has information: true accuracies are never below chance, so that a few
participants with information suffice. Prevalence asks how large their share in the population is. The app reports both kinds at the
end of ``group``.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import binom, ttest_1samp

from bids_decoder.evaluation.prevalence import bayesian_prevalence

rng = np.random.default_rng(13)
n_participants, n_trials, chance = 20, 80, 0.5
shares = np.linspace(0, 1, 11)

# %%
# In each population some participants have a true accuracy of 65 %, the others of 50 %. A participant's own test is binomial here; in
# the app it refits the decoder to permuted labels.
significant, modes, lows, highs = [], [], [], []
for share in shares:
    informed = np.arange(n_participants) < round(share * n_participants)
    correct = rng.binomial(n_trials, np.where(informed, 0.65, chance))
    own_p = binom.sf(correct - 1, n_trials, chance)
    estimate = bayesian_prevalence(int((own_p <= 0.05).sum()), n_participants)
    significant.append(ttest_1samp(correct / n_trials, chance, alternative="greater").pvalue <= 0.05)
    modes.append(estimate.most_likely)
    lows.append(estimate.ci_low)
    highs.append(estimate.ci_high)

# %%
# Filled circles: the *t*-test is significant. It is so from a small share on, and says nothing about how large the share is.
modes, significant = np.array(modes), np.array(significant)
fig, ax = plt.subplots(figsize=(4.5, 4))
ax.vlines(shares, lows, highs, color="tab:blue", alpha=0.5)
ax.scatter(shares, modes, facecolors=np.where(significant, "tab:blue", "white"), edgecolors="tab:blue", zorder=3)
ax.plot([0, 1], [0, 1], color="grey", linestyle=":")
ax.set(xlabel="true share with information", ylabel="prevalence and 95 % interval")
fig.tight_layout()
