#!/usr/bin/env bash
# The first day: from an empty folder to an answer of your own, every command with its time.
#
#   python3 -m venv env && . env/bin/activate
#   bash first_day.sh                  # installs attnlab from the package index
#   bash first_day.sh attnlab.whl      # or a wheel
#
# It needs no checkout, no account and no GPU. What the commands mean: README.md and docs/tutorial.md.
set -euo pipefail

step() { # say a command, run it, say how long it took
  echo
  echo "\$ $*"
  local start=$SECONDS
  "$@"
  echo "# $((SECONDS - start)) s"
}

step pip install --quiet "${1:-attnlab}"
installed=$SECONDS

# 1. A trained model answers.
step attnlab predict zoo/dates "3 May 2021"
echo "# first prediction $((SECONDS - installed)) s after the installation"

# 2. A table of your own: mails to a shop, what they are about, and the words that say so.
python - <<'PYTHON'
import csv
import random

random.seed(0)
causes = {
    "billing": ["invoice {n} is wrong", "I was charged twice for {n}", "the refund has not come"],
    "delivery": ["parcel {n} is late", "the box came open", "it went to a neighbour"],
    "login": ["my password fails", "the code never arrives", "I am locked out of account {n}"],
}
asides = ["The shop is nice.", "I bought {n} things last year.", "My parcel was quick in May."]
with open("mails.csv", "w", newline="") as file:
    table = csv.writer(file)
    table.writerow(["mail", "topic", "why"])
    for _ in range(300):
        topic = random.choice(list(causes))
        why = random.choice(causes[topic]).format(n=random.randint(100, 999))
        aside = random.choice(asides).format(n=random.randint(2, 9))
        table.writerow([" ".join(random.sample([f"Hello, {why}.", aside], 2)), topic, why])
PYTHON
step attnlab data inspect mails.csv

# What it proposes, kept in a file:
mkdir -p my_conf/dataset
cat > my_conf/dataset/mails.yaml <<'YAML'
defaults:
- files
- override reader: csv
- override answer: label
- override gold: quotes
- _self_
name: mails
folder: .
splits:
  train: mails.csv
inputs:
  text: mail
answer:
  column: topic
gold:
  column: why
words:
  split: punctuation
YAML
mails=(--config-dir my_conf dataset=mails task=classify metrics=rationale trainer.max_epochs=20)

# 3. How long will it take? Then train, ask, explain, show.
step attnlab estimate "${mails[@]}"
step attnlab train "${mails[@]}"
step attnlab predict latest "Hello, parcel 123 is late. The shop is nice."
step attnlab explain latest examples=10
step attnlab report latest --export figures
ls figures | head -4

# 4. Is it the mechanism, or would any do?
step attnlab compare "${mails[@]}" attention=additive,uniform

# 5. A project of your own, with a score of its own as a plugin.
step attnlab new my_project
cd my_project
step attnlab train --config-dir conf experiment=mails trainer.max_epochs=2
step attnlab runs

echo
echo "# $SECONDS s in all"
