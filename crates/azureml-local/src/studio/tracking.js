// Leads from the links that MLflow's client prints to the pages. Only a browser sees what follows the `#`.
const [, experiment, run] = location.hash.match(/^#\/experiments\/([^/?]+)(?:\/runs\/([^/?]+))?/) ?? [];
if (run) location.replace(`/studio/jobs/${run}`);
else if (experiment) location.replace(`/studio/experiments/${experiment}`);
else location.replace("/studio/jobs");
